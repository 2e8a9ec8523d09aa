"""Writer of a small data set in the exact format of GTSRB, and a reader of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from synthreal import Sample
from synthreal_signs.geometry import GTSRB_CLASSES, RealRole
from synthreal_signs.gtsrb import GTSRBOptions, read_gtsrb

ROLES: tuple[RealRole, ...] = get_args(RealRole)
HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def photograph(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A noisy photograph ``(H, W, 3)`` uint8 of a bright square with a border of 5 px."""
    pixels = np.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3), dtype=np.uint8)
    pixels[5:-5, 5:-5] += 200
    return pixels


def write_class(images: Path, number: int, tracks: int = 6, frames: int = 2, table: bool = True) -> Path:
    """Write one class folder: photographs of growing size, P6, and its table with CRLF at line ends."""
    folder = images / f"{number:05d}"
    folder.mkdir(parents=True)
    rows = [HEADER]
    for track in range(tracks):
        for frame in range(frames):
            name, (width, height) = f"{track:05d}_{frame:05d}.ppm", (29 + frame, 30 + frame)
            pixels = photograph((width, height), seed=10_000 * number + 100 * track + frame)
            Image.fromarray(pixels).save(folder / name)
            rows.append(f"{name};{width};{height};5;5;{width - 5};{height - 5};{number}")
    if table:
        (folder / f"GT-{folder.name}.csv").write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    return folder


def write_gtsrb(root: Path, tracks: int = 6, frames: int = 2, table: bool = True) -> Path:
    """Write the eight classes below ``root`` in the official layout; returns the folder of the class folders."""
    images = root / "GTSRB" / "Final_Training" / "Images"
    for number in GTSRB_CLASSES:
        write_class(images, number, tracks, frames, table)
    return images


def read(root: Path, role: RealRole = "test", **settings: float) -> list[Sample]:
    """All samples of a role in which nothing is skipped."""
    items = list(read_gtsrb(GTSRBOptions(root=root, **settings), role))
    assert all(isinstance(item, Sample) for item in items), items
    return items  # type: ignore[return-value]
