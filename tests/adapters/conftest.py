"""Folders with refiners of random weights and styles: one channel or three, with noise maps or without."""

from __future__ import annotations

import shutil

import pytest
import torch
from quick import configured

from synthreal.core.style_bank import StyleBank
from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import write_config, write_refiner, write_styles
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
            real = torch.rand(5, channels, 20, 20, generator=torch.Generator().manual_seed(seed))
            real = real * torch.linspace(0.3, 1, 5)[:, None, None, None]  # from dark to bright
            write_styles(run, StyleBank.of(real, beta=config.evaluation.fda.beta))
            made[channels, noise, seed] = run
        return made[channels, noise, seed]

    return make


@pytest.fixture
def expected():
    """``expected(run, images)``: float images ``(B, C, H, W)`` as ``synthreal.Refine`` refines them on the CPU."""
    return lambda run, images: Refine.load(run, device="cpu")(images)


@pytest.fixture
def versions_of():
    """``versions_of(run, images, found)``: for each image ``(B, C, H, W)`` its version, and the real image it is like.

    ``run`` takes no noise maps. Raises ``AssertionError`` unless ``found`` is one of the versions, to 8 bits.
    """

    def find(run, images, found):
        refine = Refine.load(run, device="cpu")
        refined, styles, blend = refine(images), refine.about.styles, refine.about.config.evaluation.histogram.blend
        places = [(0, 0)] + [(version, real) for version in (1, 2) for real in range(len(styles))]
        every = [styles.adapt(refined, torch.full((len(images),), real), v, blend=blend) for v, real in places]
        distance, place = (torch.stack(every) - found).abs().amax((2, 3, 4)).min(0)
        assert distance.max() < 1 / 255
        return [places[i] for i in place]

    return find


@pytest.fixture
def without_styles(folder, tmp_path):
    """A folder of an older version."""
    run = shutil.copytree(folder(), tmp_path / "older")
    (run / "styles.safetensors").unlink()
    return run
