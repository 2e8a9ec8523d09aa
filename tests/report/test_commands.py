"""The commands that repeat a run are valid, and resolve to the configuration of the run."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from quick import fit_toy, weights

from synthreal.cli import app
from synthreal.config import ResolvedConfig
from synthreal.inference.pretrained import read_config
from synthreal.report.facts import repeat_commands
from synthreal.report.record import read_record

COMMANDS = typer.main.get_command(app).commands


def parsed(command):
    name, *words = shlex.split(command)[1:]
    return name, COMMANDS[name].make_context(name, words).params


def test_fit_has_the_configuration_of_the_run(run, toy, cli):
    folder = "a run's"
    shutil.rmtree(run)
    fit_toy(toy, Path(folder), "history=none", "loss.weight=0.7", "runtime.seed=3")
    fit, report = repeat_commands(read_record(Path(folder)))
    name, given = parsed(fit)
    assert name == "fit" and given["run"] == Path(f"{folder}-again") and given["recipe"] == "toy"
    words = shlex.split(fit)[2:]
    del words[words.index("--run") : words.index("--run") + 2]
    assert ResolvedConfig.from_toml(cli("show", *words).ok().out) == read_config(Path(folder))
    assert parsed(report) == (
        "report",
        {"run": Path(f"{folder}-again"), "out": None, "device": "auto", "tensorboard": None, "trust": True},
    )


@pytest.mark.slow
def test_the_commands_repeat_the_run(full, cli):
    for command in repeat_commands(read_record(full)):
        cli(*shlex.split(command)[1:]).ok()
    again = Path("run-again")
    assert weights(again) == weights(full)
    assert (
        json.loads((again / "evaluation.json").read_text())["arms"]
        == json.loads((full / "evaluation.json").read_text())["arms"]
    )
    assert (again / "report.html").is_file()


def test_evaluate_has_the_same_arms_and_seeds(full):
    _, evaluate, _ = repeat_commands(read_record(full))
    name, given = parsed(evaluate)
    assert (name, given["runs"]) == ("evaluate", [Path("run-again")])
    assert given["arms"] == "simulated,refined" and given["seeds"] == 1 and given["split"] == "test"


def test_several_runs_seeds_and_the_validation_split(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    seeds = [{"refiner_seed": r, "estimator_seed": 2 * r + e, "value": 1.0} for r in (0, 4) for e in (0, 1)]
    tree["arms"]["simulated"]["error_px"]["seeds"] = seeds
    (full / "validation.json").write_text(json.dumps({**tree, "split": "validation", "runs": ["run", "run-4"]}))
    path.unlink()
    first, second, evaluate, _ = repeat_commands(read_record(full))
    assert "runtime.seed" not in first and parsed(second)[1]["settings"] == ["runtime.seed=4"]
    _, given = parsed(evaluate)
    assert given["runs"] == [Path("run-again"), Path("run-again-4")]
    assert given["seeds"] == 2 and given["split"] == "validation"


def test_each_evaluation_names_its_own_runs(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    for name, runs, per_run in (("evaluation", (0, 4), 1), ("validation", (0,), 2)):
        seeds = [
            {"refiner_seed": r, "estimator_seed": per_run * r + e, "value": 1.0} for r in runs for e in range(per_run)
        ]
        tree["arms"]["simulated"]["error_px"]["seeds"] = seeds
        (full / f"{name}.json").write_text(json.dumps({**tree, "split": name.replace("evaluation", "test")}))
    _, _, test, validation, _ = [parsed(command)[1] for command in repeat_commands(read_record(full))]
    assert (test["runs"], test["seeds"]) == ([Path("run-again"), Path("run-again-4")], 1)
    assert (validation["runs"], validation["seeds"]) == ([Path("run-again")], 2)


def test_a_run_made_by_a_program_has_no_commands(run):
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace('recipe = "toy"', 'recipe = ""'))
    assert repeat_commands(read_record(run)) == []
