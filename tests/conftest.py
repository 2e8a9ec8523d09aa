"""Fixtures of the library's tests: the device, a seeded generator on it and the toy domain."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # tests can `import toy` and `import quick` wherever pytest is started

from quick import TOY, configured, fit_toy  # noqa: E402

from synthreal.core.style_bank import StyleBank  # noqa: E402
from synthreal.evaluation.evaluate import evaluate  # noqa: E402
from synthreal.hooks.catalog import Catalog  # noqa: E402
from synthreal.inference.pretrained import write_config, write_refiner, write_styles  # noqa: E402
from synthreal.spec import ImageSpec  # noqa: E402

CUDA = [pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []


@pytest.fixture(params=["cpu", *CUDA])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and the GPU if there is one."""
    return torch.device(request.param)


@pytest.fixture
def generator(device: torch.device) -> torch.Generator:
    """A generator on the device, seeded with 0."""
    return torch.Generator(device).manual_seed(0)


@pytest.fixture(scope="session")
def toy() -> Catalog:
    """The built-ins and the toy domain, loaded from its file."""
    return Catalog.of([str(TOY)])


@pytest.fixture(scope="session")
def toy_run(toy: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of eleven steps; tests must not write into it."""
    run_dir = tmp_path_factory.mktemp("toy") / "run"
    fit_toy(toy, run_dir)
    return run_dir


@pytest.fixture(scope="session")
def evaluated(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished and evaluated run; tests must not write into it."""
    run_dir = shutil.copytree(toy_run, tmp_path_factory.mktemp("evaluated") / "run")
    evaluate([run_dir])
    return run_dir


@pytest.fixture(scope="session")
def noisy_run(toy: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose refiner has two noise maps; tests must not write into it."""
    run_dir = tmp_path_factory.mktemp("noisy") / "run"
    fit_toy(toy, run_dir, "refiner.options.noise_channels=2")
    return run_dir


@pytest.fixture(scope="session")
def run_of(toy, tmp_path_factory):
    """``run_of("refiner.options.noise_channels=1")``: a folder with an untrained toy refiner of these settings.

    It holds the styles of seven random images of different brightness.
    """
    folders = {}

    def make(*settings, channels=1) -> Path:
        key = (settings, channels)
        if key not in folders:
            config = configured(toy, "runtime.precision=float32", *settings)
            config = config.model_copy(update={"image": ImageSpec(channels=channels, height=12, width=16)})
            torch.manual_seed(0)
            refiner = toy.build_network("refiner", config.refiner, config.image)
            folders[key] = tmp_path_factory.mktemp("run")
            write_config(folders[key], config, {})
            write_refiner(folders[key], refiner, step=0, kind="raw")
            real = torch.rand(7, channels, 12, 16) * torch.rand(7, 1, 1, 1)
            write_styles(folders[key], StyleBank.of(real, beta=config.evaluation.fda.beta))
        return folders[key]

    return make


@pytest.fixture(scope="session")
def plain(run_of):
    """A folder with a refiner of grey images without noise."""
    return run_of()


@pytest.fixture(scope="session")
def noisy(run_of):
    """A folder with a refiner of grey images with one noise map."""
    return run_of("refiner.options.noise_channels=1")
