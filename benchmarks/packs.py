"""Packs of random images in the size of a domain, and the paper's recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import synthreal
from synthreal.data import write_pack

GAZE = {"plugin": "gaze", "recipe": "gaze-mpiigaze", "height": 35, "width": 55, "history": 51_200}
HANDS = {"plugin": "hands", "recipe": "hands-nyu", "height": 224, "width": 224, "history": 256}


def pack_of(folder: str | Path, domain: dict[str, Any], *, images: int) -> dict[str, Any]:
    """Write a pack of random images; returns the entries of ``size`` that locate it."""
    shape = (1, domain["height"], domain["width"])
    path = Path(folder) / f"{images}x{shape[1]}x{shape[2]}.h5"
    spec = synthreal.ImageSpec(channels=1, height=shape[1], width=shape[2], meaning="noise")
    generator = np.random.default_rng(0)
    samples = (synthreal.Sample(generator.integers(0, 256, shape, dtype=np.uint8)) for _ in range(images))
    write_pack(path, samples, image=spec, role="simulated", name="noise")
    return {"pack": str(path), "folder": str(folder), "images": images}
