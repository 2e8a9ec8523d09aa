"""Folders of generated renders and photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Size = tuple[int, int]

# Settings of a run of two folders that takes seconds
SHORT = (
    "schedule.refiner_steps=2",
    "schedule.discriminator_steps=1",
    "schedule.steps=3",
    "schedule.batch=4",
    "refiner.options.width=4",
    'quality={images=20, keep="last"}',
    "history.size=8",
    "runtime.device=cpu",
)


def render(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Plain discs on a plain ground, ``(H, W, 3)`` uint8."""
    y, x = np.mgrid[: size[0], : size[1]]
    picture = np.empty((*size, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3)
    for _ in range(4):
        centre, radius = rng.uniform(0, size), rng.uniform(0.1, 0.4) * min(size)
        picture[np.hypot(y - centre[0], x - centre[1]) < radius] = rng.integers(0, 256, 3)
    return picture


def photograph(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A darker scene with noise, ``(H, W, 3)`` uint8."""
    return (0.7 * render(rng, size) + rng.normal(20, 8, (*size, 3))).clip(0, 255).astype(np.uint8)


def folder(
    path: Path,
    count: int,
    size: Size | Callable[[int], Size],
    draw: Callable[[np.random.Generator, Size], np.ndarray] = render,
    *,
    suffix: str = "png",
    mode: str = "RGB",
    **options: Any,
) -> Path:
    """Write ``count`` pictures of a size, or of a size for each number, in a mode of Pillow or "16" for deep grey."""
    rng = np.random.default_rng(count)
    path.mkdir(parents=True)
    for number in range(count):
        picture = Image.fromarray(draw(rng, size(number) if callable(size) else size))
        if mode == "16":
            picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
        else:
            picture = picture.convert(mode)
        picture.save(path / f"{number:03}.{suffix}", **options)
    return path
