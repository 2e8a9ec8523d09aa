"""Packs of random images, and jobs of several small blocks."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from synthreal.data.writer import PackWriter
from synthreal.spec import ImageSpec, LabelSpec


@pytest.fixture
def pack_of(tmp_path):
    """``pack_of(300)``: a pack of random grey images with the label ``count``."""

    def make(n, name="in.h5", seed=0, dtype="uint8", size=(12, 16)):
        rng = np.random.default_rng(seed)
        spec, labels = (
            ImageSpec(channels=1, height=size[0], width=size[1], dtype=dtype),
            (LabelSpec("count", (), "number"),),
        )
        path = tmp_path / name
        with PackWriter(path, image=spec, labels=labels, role="simulated", name="toy", overwrite=True) as writer:
            top = np.iinfo(dtype).max + 1
            writer.append(rng.integers(0, top, (n, *spec.shape)).astype(dtype), {"count": np.arange(n)})
        return path

    return make


@pytest.fixture
def source_of(tmp_path, pack_of):
    """``source_of("folder")``: 43 images of two sizes in a folder with sidecars or in three shards, or a pack."""

    def make(kind, n=43):
        if kind == "pack":
            return pack_of(n)
        root, rng, contents = tmp_path / "in", np.random.default_rng(0), {}
        root.mkdir()
        for index in range(n):
            picture = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (12, 16 + index % 2), np.uint8)).save(picture, "PNG")
            contents |= {f"{index:03d}.json": str(index).encode(), f"{index:03d}.png": picture.getvalue()}
        if kind == "folder":
            for name, content in contents.items():
                (root / name).write_bytes(content)
            return root
        for shard in range(3):
            with tarfile.open(root / f"{shard}.tar", "w") as tar:
                for name, content in contents.items():
                    if int(name[:3]) % 3 == shard:
                        member = tarfile.TarInfo(name)
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
        return root

    return make


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 8 images, so that a small job has several."""
    from synthreal.bulk import packs, pictures

    monkeypatch.setattr(packs.PackSource, "block_size", lambda self, batch, size: 8)
    monkeypatch.setattr(pictures.Pictures, "block_size", lambda self, batch, size: 8)
