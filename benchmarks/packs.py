"""Data sets of random images in the size of a domain, and the paper's recipe for it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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


def data_set(kind: str, folder: Path, images: int) -> Path:
    """A data set of noise: a pack, a folder of PNG files with sidecars, or three tar shards."""
    if kind == "pack":
        return Path(pack_of(folder, GAZE, images=images)["pack"])
    generator = np.random.default_rng(0)
    root = folder / f"{kind}-in"
    root.mkdir()
    files = {}
    for index in range(images):
        pixels = generator.integers(0, 256, (GAZE["height"], GAZE["width"]), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG", compress_level=1)
        files[f"{index:05d}.png"], files[f"{index:05d}.json"] = content.getvalue(), f"[{index}]".encode()
    if kind == "folder":
        for name, content in files.items():
            (root / name).write_bytes(content)
        return root
    for shard in range(3):
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for name, content in files.items():
                if int(name[:5]) % 3 == shard:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root
