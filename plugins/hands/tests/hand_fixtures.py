"""Writers of small data sets in NYU's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FINGER = ("KNU3_A", "KNU3_B", "KNU2_A", "KNU2_B", "KNU1_A", "KNU1_B")
NAMES = [
    *(f"F{finger}_{place}" for finger in range(1, 5) for place in FINGER),
    *(f"TH_{place}" for place in ("KNU3_A", "KNU3_B", "KNU2_A", "KNU2_B", "KNU1_A", "KNU1_B")),
    *(f"PALM_{number}" for number in range(1, 7)),
]


def to_xyz(uvd: np.ndarray) -> np.ndarray:
    """The formula of NYU's author, mm with y up."""
    u, v, d = np.moveaxis(uvd, -1, 0)
    return np.stack([(u / 640 - 0.5) * d * 1.08836710, (0.5 - v / 480) * d * 0.817612648, d], axis=-1)


def write_depth(path: Path, depth: np.ndarray) -> None:
    """Write a frame ``(480, 640)`` in mm: green is the high byte, blue the low byte, red is unused."""
    whole = depth.astype(int)
    pixels = np.stack([np.full_like(whole, 77), whole // 256, whole % 256], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_joints(folder: Path, uvd: np.ndarray) -> None:
    """Write ``joint_data.mat`` with joints ``(3, N, 36, 3)``."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    names = np.empty((1, len(NAMES)), dtype=object)
    names[0] = NAMES
    savemat(folder / "joint_data.mat", {"joint_names": names, "joint_uvd": uvd, "joint_xyz": to_xyz(uvd)})


def hand(frame: int, view: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame ``(480, 640)`` mm with a slanted plate in front of a wall, and 36 joints ``(36, 3)`` on the plate."""
    random = np.random.default_rng(10 * frame + view)
    centre = np.array([300.0 + 5 * view, 230.0 + 3 * frame])
    depth = np.full((480, 640), 2001.0)
    rows, columns = np.mgrid[0:480, 0:640]
    near = (abs(columns - centre[0]) < 60) & (abs(rows - centre[1]) < 80)
    depth = np.where(near, np.rint(800 + 0.5 * (columns - centre[0])), depth)
    depth[int(centre[1]) - 20 : int(centre[1]) - 15, int(centre[0]) - 2 : int(centre[0]) + 3] = 0
    uv = centre + random.uniform((-50, -70), (50, 70), (36, 2))
    uv[34] = centre
    return depth, np.column_stack([uv, 800 + 0.5 * (uv[:, 0] - centre[0])])


def write_nyu(root: Path, frames: int = 4) -> np.ndarray:
    """Write ``train`` and ``test`` below ``root``, three cameras each; return the joints ``(3, frames, 36, 3)``."""
    uvd = np.stack([[hand(frame, view)[1] for frame in range(1, frames + 1)] for view in (1, 2, 3)])
    for folder in ("train", "test"):
        write_joints(root / folder, uvd)
        for view in (1, 2, 3):
            for frame in range(1, frames + 1):
                for kind in ("depth", "synthdepth"):
                    depth, _ = hand(frame, view)
                    shown = np.where(depth == 2001, 0, depth) if kind == "synthdepth" else depth
                    write_depth(root / folder / f"{kind}_{view}_{frame:07d}.png", shown)
    return uvd
