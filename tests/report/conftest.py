"""Runs with every file that a page can show; what would take long to train is written by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from quick import fit_toy
from run_log import write_quality

from synthreal.evaluation.evaluate import evaluate
from synthreal.hooks.catalog import Catalog


@pytest.fixture(scope="session")
def fitted(toy: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without quality monitoring; tests must not write into it."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    fit_toy(toy, folder, "quality=none", "data.real.count=200")
    return folder


@pytest.fixture
def working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """``working_copy(folder)``: a writable copy of a run, ``run`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda folder: Path(shutil.copytree(folder, "run"))


@pytest.fixture
def run(fitted: Path, working_copy: Callable[[Path], Path]) -> Path:
    """A writable copy of the fitted run."""
    return working_copy(fitted)


@pytest.fixture(scope="session")
def complete(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated run with four sheets and quality; tests must not write into it."""
    folder = tmp_path_factory.mktemp("complete") / "run"
    shutil.copytree(fitted, folder)
    evaluate([folder], arms=["refined"])
    for number, step in enumerate((2, 5, 8)):
        Image.new("RGB", (300, 90), (60 * number, 120, 90)).save(folder / "sheets" / f"step-{step:08d}.png")
    write_quality(folder)
    return folder


@pytest.fixture
def full(complete: Path, working_copy: Callable[[Path], Path]) -> Path:
    """A writable copy of the complete run."""
    return working_copy(complete)
