"""What the plugin registers, and short runs of its recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from signs_fixtures import ROLES, write_gtsrb

import synthreal
from synthreal.config import ResolvedConfig
from synthreal.data import Pack

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")

SHORT: dict[str, Any] = {
    "refiner": {"options": {"width": 4}},
    "history": {"size": 16},
    "schedule": {"refiner_steps": 2, "discriminator_steps": 2, "steps": 2, "batch": 8},
    "evaluation": {"images": 64, "epochs": 1},
}


@pytest.fixture(scope="module")
def signs() -> synthreal.Catalog:
    return synthreal.Catalog.of(["signs"])


@pytest.fixture(scope="module")
def gtsrb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gtsrb")
    write_gtsrb(root, tracks=6, frames=3)
    return root


def _roots(root: Path) -> dict[str, Any]:
    return {role: {"options": {"root": str(root)}} for role in ROLES}


def test_the_plugin_registers_what_its_readme_lists(signs: synthreal.Catalog) -> None:
    ours = {key for key, entry in signs.datasets.items() if entry.origin.plugin == "signs"}
    assert ours == {("simulator", "simulated"), *(("gtsrb", role) for role in ROLES)}
    assert set(signs.recipes) == {"signs", "signs-full"} and signs.recipe().recipe == "signs"


def test_a_recipe_survives_toml(signs: synthreal.Catalog) -> None:
    for name in ("signs", "signs-full"):
        config = synthreal.configure(signs, recipe=name)
        assert ResolvedConfig.from_toml(config.to_toml()) == config
        assert config.data.real.options["root"] == config.data.test.options["root"] == "data/GTSRB"


@pytest.mark.parametrize("recipe", ["signs", "signs-full"])
def test_a_recipe_fits(signs: synthreal.Catalog, gtsrb: Path, tmp_path: Path, recipe: str) -> None:
    few: dict[str, Any] = {"data": {"simulated": {"count": 96}}} if recipe == "signs" else {}  # the other one renders
    config = synthreal.configure(signs, SHORT, {"data": _roots(gtsrb)}, few, recipe=recipe)
    last = synthreal.fit(config, signs, tmp_path / "run")
    assert last is not None and last.step == 6 and last.phase == "game"
    with Pack(tmp_path / "run/data/real.h5") as real:
        assert len(real) == 8 * 3 * 3 and real.labels == ()


def test_signs_fits_and_evaluates(signs: synthreal.Catalog, gtsrb: Path, tmp_path: Path) -> None:
    counts = {"data": {"simulated": {"count": 96}}}
    run = tmp_path / "run"
    synthreal.fit(synthreal.configure(signs, SHORT, {"data": _roots(gtsrb)}, counts), signs, run)
    result = synthreal.evaluate([run])
    assert json.loads((run / "evaluation.json").read_text()) == result.to_json()
    assert set(result.arms) == {"simulated", "refined", "versions", "histogram", "real"}
    assert "error_percent" in result.arms["refined"].metrics
    assert result.test.n == 8 * 2 * 3
    assert result.preservation is not None


def test_a_run_without_gtsrb_is_refused_before_training(tmp_path: Path, cli: Callable[..., Any]) -> None:
    root = tmp_path / "none"
    settings = [word for role in ROLES for word in ("--set", f"data.{role}.options.root={root}")]
    few = ("--set", "data.simulated.count=32")
    line = cli("fit", "--plugin", "signs", "--run", tmp_path / "run", *settings, *few).complaint()
    assert str(root) in line and "set root to the folder of GTSRB" in line
    assert not (tmp_path / "run").exists()
