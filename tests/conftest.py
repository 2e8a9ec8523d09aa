"""Fixtures of the library's tests: the device, a seeded generator on it, the toy domain and the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # tests may `import toy` and `import quick` however pytest was started

from quick import TOY, Ended, fit_toy  # noqa: E402

from synthreal.hooks.catalog import Catalog  # noqa: E402

CUDA = [pytest.param("cuda", marks=pytest.mark.gpu)] if torch.cuda.is_available() else []


@pytest.fixture(params=["cpu", *CUDA])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and the GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def generator(device: torch.device) -> torch.Generator:
    """Seeded with 0, on the device."""
    return torch.Generator(device).manual_seed(0)


@pytest.fixture(scope="session")
def toy() -> Catalog:
    """The built-ins and the toy domain, loaded from its file."""
    return Catalog.of([str(TOY)])


@pytest.fixture(scope="session")
def toy_run(toy: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of eleven steps: read it, write nothing into it."""
    run_dir = tmp_path_factory.mktemp("toy") / "run"
    fit_toy(toy, run_dir)
    return run_dir


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """``cli("fit", "--plugin", ...)``: the real command line, in this process."""
    from synthreal.cli import main

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["synthreal", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return run
