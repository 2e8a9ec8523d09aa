"""The example programs work as their docstrings say."""

from __future__ import annotations

import json
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("short_two_sample_tests")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DOMAIN = EXAMPLES / "02_new_domain.py"
SHORT = ["--set", "schedule={refiner_steps=2, discriminator_steps=2, steps=4, batch=8}"]


@pytest.fixture
def program(monkeypatch, capfd):
    """``program("01_transform.py", ...)``: run an example and return its output lines."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capfd.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out.splitlines()

    return run


def test_01_transform_trains_on_simulated_and_refined_eyes(tmp_path, cli, program):
    few = ["--set", "data.simulated.count=40", "--set", "data.real.count=40", "--set", "history.size=16"]
    cli("fit", "--plugin", "gaze", "--run", tmp_path / "run", *SHORT, *few, "--set", "quality=none").ok()
    lines = program("01_transform.py", tmp_path / "run", "--images", 96, "--epochs", 1)
    for line, name in zip(lines, ("simulated", "refined"), strict=True):
        assert line.startswith(f"trained on {name} eyes: ") and line.endswith(" deg on camera eyes")
        assert 0 < float(line.split()[4]) < 180
    assert lines[0].split()[4] != lines[1].split()[4]  # refining is the only difference


def test_03_own_loop_stops_at_the_kid(tmp_path, program):
    lines = program("03_own_loop.py", tmp_path / "near", "--kid", 1000, "--seconds", 1e6)  # reached by any measurement
    measurements = [line for line in lines if "KID" in line]
    assert len(measurements) == 1 and measurements[0].startswith("step 110: KID ")
    assert lines[-2] == "step 111: stopped"
    assert "refining changes dials by 0." in lines[-1]


@pytest.mark.slow
def test_03_own_loop_stops_when_the_time_is_up(tmp_path, program):
    lines = program("03_own_loop.py", tmp_path / "late", "--seconds", 0)
    assert lines[-2] == "step 51: stopped"  # the first report is at step 50, the end of the phase


def test_02_new_domain_fits_evaluates_and_refines(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(DOMAIN.read_text(encoding="utf-8").splitlines()) <= 150
    few = [
        word for role in ("simulated", "real", "real_labelled", "test") for word in ("--set", f"data.{role}.count=40")
    ]
    budget = ["--set", "evaluation.images=40", "--set", "evaluation.epochs=1"]
    cli("fit", "--plugin", DOMAIN, *SHORT, *few, *budget).ok()
    cli("evaluate", "runs/dials", "--trust").ok()
    arms = json.loads((tmp_path / "runs/dials/evaluation.json").read_text())["arms"]
    assert all(0 < summary["error_deg"]["mean"] < 180 for summary in arms.values())
    cli("prepare", "simulated-dials", "dials.h5", "--plugin", DOMAIN, "--limit", 20).ok()
    cli("refine", "runs/dials", "dials.h5", "refined.h5").ok()


@pytest.mark.parametrize("plugin", ["gaze", "hands"])
def test_a_configuration_file_changes_the_recipe_it_names(cli, plugin):
    path = EXAMPLES / f"{plugin}.toml"
    recipe = tomllib.loads(cli("show", "--plugin", plugin).ok().out)
    changed = tomllib.loads(cli("show", "--plugin", plugin, "--config", path).ok().out)
    for table, settings in tomllib.loads(path.read_text(encoding="utf-8")).items():
        for name in settings:
            assert changed[table][name] != recipe[table][name], f"{table}.{name} changes nothing"
    assert f"fit --plugin {plugin} --config examples/{plugin}.toml" in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_refining_reduces_the_error_of_02_new_domain(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli("fit", "--plugin", DOMAIN).ok()
    cli("evaluate", "runs/dials", "--trust").ok()
    arms = json.loads((tmp_path / "runs/dials/evaluation.json").read_text())["arms"]
    assert arms["refined"]["error_deg"]["mean"] < 0.8 * arms["simulated"]["error_deg"]["mean"]
