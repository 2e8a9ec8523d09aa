"""Folders with refiners of random weights: one channel or three, with noise maps or without."""

from __future__ import annotations

import pytest
import torch
from quick import configured

from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import write_config, write_refiner
from synthreal.inference.transform import Refine
from synthreal.spec import ImageSpec


@pytest.fixture(scope="session")
def folder(toy, tmp_path_factory):
    """``folder(channels=1, noise=0, seed=0)``: a folder that ``Refine.load`` takes; read it, write nothing into it."""
    made = {}

    def make(channels=1, noise=0, seed=0):
        if (channels, noise, seed) not in made:
            config = configured(toy, f"refiner.options.noise_channels={noise}", "runtime.precision=float32")
            image = ImageSpec(channels=channels, height=12, width=16, meaning="noise")
            config = config.model_copy(update={"image": image})
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = Catalog.of(()).build_network("refiner", config.refiner, image)
            run = tmp_path_factory.mktemp("refiner")
            write_config(run, config, {})
            write_refiner(run, network, step=1, kind="ema")
            made[channels, noise, seed] = run
        return made[channels, noise, seed]

    return make


@pytest.fixture
def expected():
    """``expected(run, images)``: float images ``(B, C, H, W)`` as ``synthreal.Refine`` refines them on the CPU."""
    return lambda run, images: Refine.load(run, device="cpu")(images)
