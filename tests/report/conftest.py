"""Runs with everything a page can show, written by hand where training would take too long."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from diary import write_quality
from PIL import Image
from quick import fit_toy

from synthreal.evaluation.evaluate import evaluate
from synthreal.hooks.catalog import Catalog


@pytest.fixture(scope="session")
def unseen(toy: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nobody looked at; read it, write nothing into it."""
    folder = tmp_path_factory.mktemp("unseen") / "run"
    fit_toy(toy, folder, "quality=none", "data.real.count=200")
    return folder


@pytest.fixture
def run(unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fitted run, ``run`` in the working directory; write into it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(unseen, "run")
    return Path("run")


@pytest.fixture(scope="session")
def judged(unseen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated run with four sheets and quality; read it, write nothing into it."""
    folder = tmp_path_factory.mktemp("judged") / "run"
    shutil.copytree(unseen, folder)
    evaluate([folder], arms=["refined"])
    for number, step in enumerate((2, 5, 8)):
        Image.new("RGB", (300, 90), (60 * number, 120, 90)).save(folder / "sheets" / f"step-{step:08d}.png")
    write_quality(folder)
    return folder


@pytest.fixture
def full(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, ``run`` in the working directory; write into it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(judged, "run")
    return Path("run")
