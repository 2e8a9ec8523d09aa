"""Refiners without training: random weights in a folder with the two files of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from quick import configured

from synthreal.data.pack import PackWriter
from synthreal.pretrained import write_config, write_refiner
from synthreal.spec import ImageSpec, LabelSpec


@pytest.fixture(scope="session")
def run_of(toy, tmp_path_factory):
    """``run_of("refiner.options.noise_channels=1")``: a folder with a refiner of the toy domain so changed."""
    made = {}

    def make(*settings, channels=1) -> Path:
        key = (settings, channels)
        if key not in made:
            config = configured(toy, "runtime.precision=float32", *settings)
            config = config.model_copy(update={"image": ImageSpec(channels=channels, height=12, width=16)})
            torch.manual_seed(0)
            refiner = toy.build_network("refiner", config.refiner, config.image)
            made[key] = tmp_path_factory.mktemp("run")
            write_config(made[key], config, {})
            write_refiner(made[key], refiner, step=0, kind="raw")
        return made[key]

    return make


@pytest.fixture(scope="session")
def plain(run_of):
    """A refiner of grey images without noise."""
    return run_of()


@pytest.fixture(scope="session")
def noisy(run_of):
    """One with a noise map."""
    return run_of("refiner.options.noise_channels=1")


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
def small_blocks(monkeypatch):
    """Blocks of 8 images, in groups of 4, so that a small job has several."""
    from synthreal.bulk import packs, pictures

    monkeypatch.setattr(packs.PackSource, "cut", lambda self, batch, size: (4, 8))
    monkeypatch.setattr(pictures.Pictures, "cut", lambda self, batch, size: (batch, 8))
