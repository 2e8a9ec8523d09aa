"""The rules of specs and recipes, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from broken import PLUGIN, SIMULATED, changed, failed
from toy import CENTRE, IMAGE

from synthreal.hooks.catalog import Entry
from synthreal.spec import LabelSpec, Options
from synthreal.testing.check import run_rule, run_rules
from synthreal.testing.domain import Domain


class Undescribed(Options):
    radius: float = 2.5


@pytest.mark.parametrize(
    ("table", "key", "change", "word"),
    [
        ("datasets", SIMULATED, {"name": "my discs"}, "'my discs'"),
        ("datasets", SIMULATED, {"options": Undescribed}, "radius"),
        ("datasets", SIMULATED, {"image": replace(IMAGE, meaning="")}, "meaning"),
        ("datasets", SIMULATED, {"image": replace(IMAGE, channels=3, colormap="viridis")}, "colormap"),
        ("datasets", SIMULATED, {"labels": (replace(CENTRE, unit=""),)}, "unit"),
        ("datasets", SIMULATED, {"labels": (CENTRE, CENTRE)}, "a name of its own"),
        ("datasets", SIMULATED, {"labels": (CENTRE, LabelSpec("tone", (0,), "grey"))}, "(0,)"),
        ("evaluators", "pointer", {"requires": (replace(CENTRE, unit="m"),)}, "shape and unit"),
        ("evaluators", "pointer", {"curve": ("error_px", (2.0, 1.0))}, "sort"),
        ("evaluators", "pointer", {"locate": None}, "detector"),
        ("evaluators", "pointer", {"landmarks": "middle"}, "'middle'"),
    ],
)
def test_specs(toy, table, key, change, word):
    assert word in failed(changed(toy, table, key, **change), "specs")["specs"]


def test_a_plugin_of_evaluators_alone_uses_the_labels_of_other_data_sets(toy):
    assert failed(replace(toy, datasets={}), "specs") == {}


def test_recipes(toy):
    assert "no recipe" in failed(replace(toy, recipes={}), "recipes")["recipes"]
    broken = toy.recipes["toy"].spec.changed({"refiner": {"name": "resnett"}})
    catalog = replace(toy, recipes={"toy": Entry(broken, toy.recipes["toy"].origin)})
    assert "recipe 'toy'" in (message := failed(catalog, "recipes")["recipes"]) and "'resnett'" in message
    assert run_rule(Domain.of(catalog, PLUGIN), "game").status == "skipped"


def test_recipes_of_absent_packs_are_not_tried(toy, tmp_path):
    origin, recipe = toy.recipes["toy"].origin, toy.recipes["toy"].spec
    packed = recipe.changed({"data": {"real": {"name": "pack", "options": {"path": str(tmp_path / "absent.h5")}}}})
    domain = Domain.of(replace(toy, recipes={"toy": Entry(packed, origin)}), PLUGIN)
    outcomes = {outcome.rule: outcome for outcome in run_rules(domain)}
    assert outcomes["recipes"].status == "skipped" and "absent.h5: no such pack" in outcomes["recipes"].message
    assert "failed" not in {outcome.status for outcome in outcomes.values()}
    assert outcomes["connections"].message == "networks and evaluators were not tried: no recipe resolves"
    both = replace(toy, recipes={**toy.recipes, "second": Entry(packed, origin)})
    outcome = run_rule(Domain.of(both, PLUGIN), "recipes")
    assert outcome.status == "ok" and outcome.message.startswith("toy; second was not tried")
    (tmp_path / "absent.h5").write_text("no pack")
    assert "recipe 'second'" in failed(both, "recipes")["recipes"]


def test_a_plugin_that_registers_nothing(toy):
    empty = replace(toy, **{table: {} for table in ("datasets", "networks", "features", "evaluators", "recipes")})
    found = {outcome.rule: outcome.status for outcome in run_rules(Domain.of(empty, PLUGIN))}
    assert {rule for rule, status in found.items() if status == "failed"} == {"specs", "recipes"}
    assert "ok" not in {found[rule] for rule in ("images", "labels", "overfits", "game")}
