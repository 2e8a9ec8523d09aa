"""Reader of the NYU hand pose data set: depth frames of three cameras, and renders of the same hands.

Format, according to the author's scripts and page: ``train|test/{depth,synthdepth}_<k>_<f>.png`` in any case,
camera k = 1 (in front), 2, 3, frame f with seven digits from 0000001; 640x480 8-bit RGB with depth_mm = G * 256 + B.
``joint_data.mat`` in both folders holds ``joint_uvd`` (px, px, mm) and ``joint_xyz`` (mm, y up), both (3 cameras, N
frames, 36 joints, 3).

Every frame is cropped to a cube around the joint PALM_5. For role ``real``, this position is the only part of the
annotation that is used (the paper segments its real hands with the renders). Joint coordinates are assumed to count px
from 0, as images do; the scripts are in MATLAB, which counts from 1, and no document settles the question.

``train`` shows one person. ``test`` shows the same person and, from frame 2441 of 8252 on, a second person with smaller
hands. By default ``test`` is the second person, and ``validation`` is the frames before (in a smaller copy, the same
shares): new poses of the person in ``train``, because the data set has no third person. The paper evaluates on the
whole folder. To do so, set ``frames`` to [1, 8252], and do not choose settings on validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator

from synthreal import LabelSpec, Options, Sample, Skipped, UserError
from synthreal.data import read_matlab
from synthreal_hands.cube import CROP, CUBE_MM, FRAME, JOINTS, XYZ, Crop, unproject

SIDE = 224
EVALUATED = (32, 30, 31, 24, 25, 27, 0, 3, 6, 9, 12, 15, 18, 21)
CENTRE = 34
ALL_JOINTS = 36
APART_MM = 5.0
"""Distance of ``joint_xyz`` from the back-projected ``joint_uvd`` that a joint may have. Joints are at
least 12 mm apart in the real frame at hand; an offset of 1 px (1.3 mm at a hand's distance) is not detected."""
LEAST_JOINTS = 6
"""Joints of a frame at which depth must be measured. All 36 are in the real frame at hand; a hole may take most."""
CHECKED = 20
"""Frames, spread over the set, whose joints are compared with the measured depth before the first sample."""
BEHIND_MM = (-10.0, 40.0)
"""How far a joint may lie behind the measured surface: joints are inside the hand, 3 to 34 mm in the real frame."""
LEAST_SHARE = 0.5
"""Median share of a frame's measured joints within ``BEHIND_MM``. The real frame has 1.0; its hand resized to 0.7 or
shifted by 40 px has 0.4. Where fingers hide others (spheres at NYU's joints, turned by 0 to 90 degrees), the median is
0.8 to 0.9, and 1 frame of 1000 has less than 0.5."""

Role = Literal["simulated", "real", "real_labelled", "validation", "test"]
FOLDERS: Mapping[Role, str] = {
    "simulated": "train",
    "real": "train",
    "real_labelled": "train",
    "validation": "test",
    "test": "test",
}
FIRST_PERSON = 2440 / 8252
REMEDY = "restore it, set frames and views to what you have, or set skip_broken=true"
FRAME_LABEL = LabelSpec("frame", (2,), "camera 1..3, frame from 1")
LABELS = (JOINTS, XYZ, CROP, FRAME_LABEL)


class NYUOptions(Options):
    """Location of the data set and the part to read."""

    root: Path = Field(description="Folder that contains train and test.")
    views: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1, description="Cameras to read, out of 1, 2, 3.")
    frames: tuple[int, int] | None = Field(
        default=None, description="First and last frame to read, counted from 1. The default depends on the role."
    )
    skip_broken: bool = Field(
        default=False, description="Skip missing and unreadable frames and list them, instead of stopping."
    )
    cube_mm: float = Field(default=CUBE_MM, gt=0, description="Side of the cube around the hand, mm.")

    @field_validator("views")
    @classmethod
    def _known(cls, views: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(views)) < len(views) or not set(views) <= {1, 2, 3}:
            raise ValueError("give different cameras out of 1, 2, 3")
        return views

    @field_validator("frames")
    @classmethod
    def _ordered(cls, frames: tuple[int, int] | None) -> tuple[int, int] | None:
        if frames is not None and not 1 <= frames[0] <= frames[1]:
            raise ValueError("give the first and the last frame, counted from 1")
        return frames


def read_nyu(options: NYUOptions, role: Role) -> Iterator[Sample | Skipped]:
    """Read cropped frames, camera by camera.

    Args:
        options: folder, cameras, frames and cube.
        role: determines the folder, the kind of frame (renders for ``simulated``) and the default frames.

    Yields:
        :class:`Sample` with uint16 depth ``(1, 224, 224)`` (65535 = far or not measured) and, except for ``real``,
        labels ``joints (14, 3)``, ``xyz (14, 3)``, ``crop (5,)`` float32 and ``frame (2,)`` int64;
        with ``skip_broken`` also a :class:`Skipped` for each missing or unreadable frame.

    Raises:
        UserError: a folder, ``joint_data.mat`` or one of its variables is missing; ``joint_uvd`` and ``joint_xyz`` do
            not belong together; a frame is missing (checked before reading), unreadable, or of another hand than its
            joints, and ``skip_broken`` is off; or no frame is readable. A frame is of another hand if its PALM_5 is
            outside the frame or depth within the cube is measured at fewer than 6 of its 36 joints. Of 20 frames spread
            over the set, the median frame must have at least half of its measured joints up to 40 mm behind the
            measured surface. In the real frame at hand, this detects frames that were shifted by 40 px, cropped to 0.6
            and enlarged, or reduced to 0.7 and padded, but not flipped vertically, shifted by 30 px, cropped to 0.7 or
            reduced to 0.8, nor a fault in fewer than half of the frames.
    """
    folder = options.root.expanduser() / FOLDERS[role]
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; set root to the folder that holds NYU's train and test")
    uvd, xyz = _read_joints(folder / "joint_data.mat")
    kind = "synthdepth" if role == "simulated" else "depth"
    first, last = options.frames or default_frames(role, uvd.shape[1])
    if not 1 <= first <= last <= uvd.shape[1]:
        raise UserError(
            f"{folder / 'joint_data.mat'}: holds joints of {uvd.shape[1]} frames, but frames is [{first}, {last}]; "
            f"set frames within 1 to {uvd.shape[1]}"
        )
    try:
        present = {path.name.lower(): path for path in sorted(folder.iterdir())}  # of x.PNG and x.png, the latter
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); make the folders in root readable") from error
    wanted = [
        (present.get(name := f"{kind}_{view}_{frame:07d}.png", folder / name), view, frame)
        for view in options.views
        for frame in range(first, last + 1)
    ]
    if not options.skip_broken:
        missing = [path for path, _, _ in wanted if not path.is_file()]
        if missing:
            raise UserError(f"{missing[0]}: missing ({len(missing)} of {len(wanted)} frames are); {REMEDY}")
    _check_set(folder, wanted, uvd, options)
    read = 0
    for path, view, frame in wanted:
        depth = _read_frame(path, uvd[view - 1, frame - 1], options)
        if isinstance(depth, Skipped):
            yield depth
            continue
        read += 1
        place = uvd[view - 1, frame - 1], xyz[view - 1, frame - 1]
        yield crop_frame(depth, *place, options.cube_mm, number=(view, frame), labelled=role != "real")
    if not read:
        raise UserError(
            f"{folder}: none of {len(wanted)} {kind} frames is readable; restore them from the NYU data set"
        )


def default_frames(role: Role, count: int) -> tuple[int, int]:
    """First and last frame of a role in a folder of ``count`` frames; validation and test are disjoint."""
    split = round(FIRST_PERSON * count)
    return {"validation": (1, split), "test": (split + 1, count)}.get(role, (1, count))


def read_depth(path: Path) -> np.ndarray:
    """Read depth ``(480, 640)`` float32 in mm, 0 where not measured. Raises ``OSError`` or ``ValueError``."""
    with Image.open(path, formats=["PNG"]) as picture:
        if picture.size != FRAME or picture.mode != "RGB":
            raise ValueError(f"a frame is 640x480 RGB, this is {picture.width}x{picture.height} {picture.mode}")
        pixels = np.asarray(picture).astype(np.float32)
    return np.asarray(pixels[..., 1] * 256 + pixels[..., 2], dtype=np.float32)


def crop_frame(
    depth: np.ndarray, uvd: np.ndarray, xyz: np.ndarray, cube_mm: float, *, number: tuple[int, int], labelled: bool
) -> Sample:
    """Crop the hand from a frame and express its joints in the crop.

    Args:
        depth: ``(480, 640)`` mm.
        uvd: all joints ``(36, 3)`` px, px, mm.
        xyz: the same in mm of the camera frame.
        cube_mm: side of the cube.
        number: camera and frame.
        labelled: whether the sample has labels.
    """
    centre = torch.tensor(uvd[None, CENTRE], dtype=torch.float64)
    crop = Crop(centre, centre.new_tensor([cube_mm / 2]), centre.new_tensor([float(SIDE)]))
    cells = torch.arange(SIDE, dtype=torch.float64)
    columns, rows, _ = crop.to_frame(torch.stack([cells, cells, 0 * cells], dim=-1)[None])[0].round().long().T.numpy()
    window = np.pad(depth, 1)[np.ix_((rows + 1).clip(0, FRAME[1] + 1), (columns + 1).clip(0, FRAME[0] + 1))]
    image = (crop.to_unit(torch.from_numpy(window)[None].double()) * 65535).round().numpy().astype(np.uint16)
    if not labelled:
        return Sample(image)
    chosen = list(EVALUATED)
    labels = {
        JOINTS.name: crop.from_frame(torch.tensor(uvd[None, chosen], dtype=torch.float64))[0].float().numpy(),
        XYZ.name: xyz[chosen].astype(np.float32),
        CROP.name: crop.label()[0].numpy(),
        FRAME_LABEL.name: np.array(number, dtype=np.int64),
    }
    return Sample(image, labels)


def _read_joints(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read and check ``joint_uvd`` and ``joint_xyz``, ``(3, N, 36, 3)``."""
    remedy = "restore it from the NYU data set"
    found = []
    for name, values in read_matlab(path, ("joint_uvd", "joint_xyz"), remedy=remedy).items():
        if values.ndim != 4 or (values.shape[0], *values.shape[2:]) != (3, ALL_JOINTS, 3):
            raise UserError(f"{path}: {name} is {'x'.join(map(str, values.shape))}, not 3xNx36x3; {remedy}")
        if values.dtype.kind not in "fiu" or not (abs(values.astype(np.float64)) < 1e6).all():
            raise UserError(f"{path}: {name} does not hold finite numbers (px and mm); {remedy}")
        found.append(values.astype(np.float64))
    uvd, xyz = found
    if uvd.shape != xyz.shape:
        raise UserError(f"{path}: joint_uvd holds {uvd.shape[1]} frames, joint_xyz {xyz.shape[1]}; {remedy}")
    if not (uvd[:, :, CENTRE, 2] > 0).all():
        raise UserError(f"{path}: joint_uvd has a hand at depth 0 or behind the camera; {remedy}")
    apart = np.linalg.norm(unproject(torch.from_numpy(uvd)).numpy() - xyz, axis=-1) > APART_MM
    if apart.mean() > 0.01:
        raise UserError(
            f"{path}: joint_uvd and joint_xyz are more than {APART_MM:.0f} mm apart in {apart.mean():.0%} "
            f"of the joints: they do not belong together; {remedy}"
        )
    return uvd, xyz


def _read_frame(path: Path, uvd: np.ndarray, options: NYUOptions) -> np.ndarray | Skipped:
    """Depth ``(480, 640)`` of a frame with the hand of the joints ``(36, 3)``; a skip or ``UserError`` if it fails."""
    try:
        depth = read_depth(path)
        _check_hand(depth, uvd, options.cube_mm)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if not options.skip_broken:
            raise UserError(f"{path}: not a readable frame ({reason}); {REMEDY}") from error
        return Skipped(str(path), reason)
    return depth


def _check_set(folder: Path, wanted: list[tuple[Path, int, int]], uvd: np.ndarray, options: NYUOptions) -> None:
    """Raise ``UserError`` if the joints ``(3, N, 36, 3)`` do not fit the depth of the frames."""
    shares = []
    for index in sorted({*np.linspace(0, len(wanted) - 1, CHECKED).round().astype(int).tolist()}):
        path, view, frame = wanted[index]
        joints = uvd[view - 1, frame - 1]
        depth = _read_frame(path, joints, options)
        if not isinstance(depth, Skipped):
            measured = _depth_at(depth, joints)
            behind = (joints[:, 2] - measured)[measured > 0]
            shares.append(((behind >= BEHIND_MM[0]) & (behind <= BEHIND_MM[1])).mean())
    if shares and np.median(shares) < LEAST_SHARE:
        raise UserError(
            f"{folder / 'joint_data.mat'}: joint_uvd does not fit the frames: of the joints with measured depth, only "
            f"{np.median(shares):.0%} lie within the hand; restore joint_data.mat and frames of the original size"
        )


def _depth_at(depth: np.ndarray, uvd: np.ndarray) -> np.ndarray:
    """Depth ``(36,)`` mm at the joints ``(36, 3)``; 0 where not measured or outside the frame."""
    u, v = uvd[:, :2].round().astype(int).T
    inside = (u >= 0) & (u < FRAME[0]) & (v >= 0) & (v < FRAME[1])
    return np.where(inside, depth[v.clip(0, FRAME[1] - 1), u.clip(0, FRAME[0] - 1)], 0)


def _check_hand(depth: np.ndarray, uvd: np.ndarray, cube_mm: float) -> None:
    """Raise ``ValueError`` if the joints ``(36, 3)`` are not those of a hand in the frame ``(480, 640)``."""
    u, v = uvd[CENTRE, :2].round().astype(int)
    if not (0 <= u < FRAME[0] and 0 <= v < FRAME[1]):
        raise ValueError(f"joint_uvd has the hand at ({u}, {v}), outside 640x480")
    measured = _depth_at(depth, uvd)
    on_hand = (measured > 0) & (abs(measured - uvd[CENTRE, 2]) <= cube_mm / 2)
    if on_hand.sum() < LEAST_JOINTS:
        raise ValueError(f"depth is measured at {on_hand.sum()} of the {ALL_JOINTS} joints in joint_uvd")
