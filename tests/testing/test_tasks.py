"""The rules of the downstream task, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from broken import PLUGIN, REAL, SIMULATED, TEST, changed, failed
from torch import nn
from toy import DiscOptions, locate, simulator, synthreal_evaluators

from synthreal.hooks.catalog import Entry
from synthreal.hooks.estimators import REGRESSION
from synthreal.spec import Batch, LabelSpec, Sample
from synthreal.testing.check import run_rule
from synthreal.testing.domain import Domain

POINTER = synthreal_evaluators()[0]


def relative(pred, labels):
    return {"error_px": (pred - labels["centre"]).norm(dim=-1)[:, 0] / pred[:, 0, 0]}


def with_ratio(pred, labels):
    """A second metric that is NaN where the first is exactly 0."""
    error = POINTER.metrics(pred, labels)["error_px"]
    return {"error_px": error, "ratio": error / error}


def three_numbers(options, image):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))


def of_three(pred, labels):
    return {"error_px": (pred[:, None, :2] - labels["centre"]).norm(dim=-1)[:, 0]}


def quantities(labels):
    return {"centre_px": labels["centre"]}


@pytest.mark.parametrize(
    ("change", "rule", "word"),
    [
        ({"loss": lambda pred, labels: pred.square().mean()}, "overfits", "by heart"),
        ({"metrics": lambda pred, labels: {"error_px": 0 * pred[:, 0, 0]}}, "metrics", "constant answer"),
        ({"metrics": relative}, "metrics", "NaN"),
        (
            {"build": three_numbers, "loss": lambda pred, labels: pred.mean(), "metrics": of_three},
            "metrics",
            "give the evaluator",
        ),
        ({"quantities": quantities, "assign": lambda pred, values: values["centre_px"] + 9}, "metrics", "quantities"),
        ({"quantities": quantities, "assign": lambda pred, values: pred}, "metrics", "assign must replace"),
        ({"metrics": with_ratio}, "metrics", "ratio"),
        ({"locate": lambda image: torch.zeros(len(image), 1, 2)}, "detector", "move right by 2"),
        ({"locate": lambda image: locate(image)[:, 0]}, "detector", "(B, K, 2)"),
        ({"locate": lambda image: locate(image) / 0}, "detector", "NaN"),
        ({"locate": lambda image: locate(image) + 30}, "detector", "'centre'"),
        ({"locate": lambda image: locate(image).repeat(1, 2, 1)}, "detector", "(64, 2, 2)"),
    ],
)
def test_evaluators(toy, change, rule, word):
    message = failed(changed(toy, "evaluators", "pointer", **change), rule)[rule]
    assert "evaluator 'pointer'" in message and word in message


@pytest.mark.parametrize("rule", ["overfits", "metrics"])
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"curve": ("error_mm", (1.0,))}, "error_mm"),
        ({"primary": "eror_px"}, "eror_px"),
        ({"metrics": lambda pred, labels: {"error_px": relative(pred, labels)["error_px"].abs().mean()[None]}}, "(B,)"),
    ],
)
def test_an_evaluator_without_a_recipe_is_tried_as_a_run_does(toy, rule, change, word):
    message = failed(with_evaluators(toy, replace(POINTER, **change)), rule)[rule]
    assert "evaluator 'pointer': metrics" in message and word in message


def test_the_evaluator_of_numbers_keeps_the_rule_of_metrics(toy):
    """Its predictions hold the deviation, by which its metric divides."""

    def render(options, n, generator):
        batch = simulator(options, n, generator)
        return Batch(batch.image, {"values": batch.labels["centre"][:, 0]})

    values = replace(REGRESSION.requires[0], shape=(2,))
    datasets = {
        key: Entry(replace(entry.spec, render=render, labels=() if key == REAL else (values,)), entry.origin)
        for key, entry in toy.datasets.items()
        if entry.origin == toy.recipes["toy"].origin
    }
    options = {"mean": (7.5, 5.5), "deviation": (3.3, 2.0), "width": 8}
    recipe = toy.recipes["toy"].spec.changed({"evaluation": {"evaluator": {"name": "regression", "options": options}}})
    recipes = {"toy": Entry(recipe, toy.recipes["toy"].origin)}
    catalog = replace(toy, datasets={**toy.datasets, **datasets}, recipes=recipes)
    outcome = run_rule(Domain.of(catalog, PLUGIN), "metrics")
    assert outcome.status == "ok" and "regression: relative_error_percent" in outcome.message


def test_quantities_that_give_the_prediction_back_pass(toy):
    change = {"quantities": quantities, "assign": lambda pred, values: values["centre_px"]}
    assert failed(changed(toy, "evaluators", "pointer", **change), "metrics") == {}


def with_evaluators(toy, *specs):
    """The toy domain with other evaluators and a recipe without evaluation."""
    origin = toy.recipes["toy"].origin
    unlabelled = dict.fromkeys(("real_labelled", "validation", "test"))
    recipe = toy.recipes["toy"].spec.changed({"data": unlabelled, "evaluation": {"evaluator": None}})
    evaluators = {spec.name: Entry(spec, origin) for spec in specs}
    return replace(toy, evaluators=evaluators, recipes={"toy": Entry(recipe, origin)})


def test_rare_classes_are_among_the_images(toy):
    """Of 64 images a few are of the other class; of 8 none might be, and a constant answer would be perfect."""

    def render(options, n, generator):
        batch = simulator(options, n, generator)
        return Batch(batch.image, {"rare": (torch.arange(n) % 16 == 15).float()[:, None]})

    def wrong(pred, labels):
        return {"error_percent": 100.0 * ((pred[:, 0] > 0.5) != (labels["rare"][:, 0] > 0.5))}

    rare = LabelSpec("rare", (1,), "0 or 1")
    linear = {"build": lambda options, image: nn.Sequential(nn.Flatten(), nn.Linear(192, 1))}
    linear["loss"] = lambda pred, labels: (pred - labels["rare"]).abs().mean()
    change = {"requires": (rare,), "metrics": wrong, "primary": "error_percent", "curve": None, **linear}
    catalog = changed(toy, "datasets", SIMULATED, render=render, labels=(rare,))
    catalog = with_evaluators(catalog, replace(POINTER, locate=None, landmarks=None, **change))
    assert run_rule(Domain.of(catalog, PLUGIN), "metrics").status == "ok"


def test_every_evaluator_is_tried_although_one_has_no_images(toy):
    """The second is tried, and broken, although the labels of the first are in no data set."""
    lonely = replace(POINTER, name="a", requires=(LabelSpec("depth", (1,), "mm"),))
    broken = replace(POINTER, name="b", metrics=lambda pred, labels: {"error_px": 0 * pred[:, 0, 0]})
    catalog = with_evaluators(toy, lonely, broken)
    assert "evaluator 'b'" in failed(catalog, "metrics")["metrics"]
    outcome = run_rule(Domain.of(catalog, PLUGIN), "detector")
    assert outcome.status == "ok" and "a was not tried" in outcome.message and "b: " in outcome.message


def test_labels_of_files_have_the_dtypes_of_a_run(toy):
    def read(options):
        generator = torch.Generator().manual_seed(0)
        batch = simulator(DiscOptions(), 8, generator)
        for image, centre in zip(batch.image, batch.labels["centre"], strict=True):
            yield Sample((255 * image).byte().numpy(), {"centre": centre.double().numpy()})

    catalog = changed(toy, "datasets", SIMULATED, render=None, read=read)
    catalog = replace(catalog, datasets={key: catalog.datasets[key] for key in (SIMULATED, REAL)})
    batch = Domain.of(with_evaluators(catalog, POINTER), PLUGIN).labelled(POINTER, 8)
    assert batch.image.shape == (8, 1, 12, 16) and batch.labels["centre"].dtype == torch.float32


def test_labels_of_files_that_are_equal_are_no_fault_of_the_metrics(toy):
    """A folder per class is read in order, so that its first images are of one class."""

    def read(options):
        for tone in range(99):
            image = np.full((1, 12, 16), tone, np.uint8)
            yield Sample(image, {"centre": np.full((1, 2), tone // 50, np.float32)})

    catalog = with_evaluators(changed(toy, "datasets", SIMULATED, render=None, read=read), POINTER)
    only_files = replace(catalog, datasets={key: catalog.datasets[key] for key in (SIMULATED, REAL)})
    for rule in ("overfits", "metrics", "detector"):
        outcome = run_rule(Domain.of(only_files, PLUGIN), rule)
        assert outcome.status == "skipped" and "its first 8 images have equal labels" in outcome.message
    assert run_rule(Domain.of(catalog, PLUGIN), "metrics").status == "ok"  # with images of another role


def test_images_of_another_format_are_the_reason(toy):
    image = replace(toy.datasets[SIMULATED].spec.image, width=20)
    catalog = changed(with_evaluators(toy, POINTER), "datasets", TEST, image=image)
    others = {key: catalog.datasets[key] for key in (REAL, TEST)}
    simulated = Entry(replace(toy.datasets[SIMULATED].spec, labels=()), toy.datasets[SIMULATED].origin)
    outcome = run_rule(Domain.of(replace(catalog, datasets={SIMULATED: simulated, **others}), PLUGIN), "metrics")
    assert outcome.status == "skipped" and "'photographs' (test): its images are" in outcome.message
    assert "12x20" in outcome.message and "12x16" in outcome.message


def test_a_domain_without_a_detector_skips_its_rule(toy):
    catalog = changed(toy, "evaluators", "pointer", locate=None, landmarks=None)
    assert run_rule(Domain.of(catalog, PLUGIN), "detector").status == "skipped"
