"""The rules of the downstream task, each broken alone."""

from __future__ import annotations

import pytest
import torch
from broken import PLUGIN, changed, failed
from torch import nn
from toy import locate

from synthreal.testing.check import run_rule
from synthreal.testing.domain import Domain


def relative(pred, labels):
    return {"error_px": (pred - labels["centre"]).norm(dim=-1)[:, 0] / pred[:, 0, 0]}


def quantities(labels):
    return {"centre_px": labels["centre"]}


@pytest.mark.parametrize(
    ("change", "rule", "word"),
    [
        ({"loss": lambda pred, labels: pred.square().mean()}, "overfits", "by heart"),
        ({"metrics": lambda pred, labels: {"error_px": 0 * pred[:, 0, 0]}}, "metrics", "constant answer"),
        ({"metrics": relative}, "metrics", "NaN"),
        ({"build": lambda options, image: nn.Sequential(nn.Flatten(), nn.Linear(192, 3))}, "metrics", "answer"),
        ({"quantities": quantities, "assign": lambda pred, values: values["centre_px"] + 9}, "metrics", "quantities"),
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


def test_quantities_that_give_the_prediction_back_pass(toy):
    change = {"quantities": quantities, "assign": lambda pred, values: values["centre_px"]}
    assert failed(changed(toy, "evaluators", "pointer", **change), "metrics") == {}


def test_a_domain_without_a_detector_skips_its_rule(toy):
    catalog = changed(toy, "evaluators", "pointer", locate=None, landmarks=None)
    assert run_rule(Domain.of(catalog, PLUGIN), "detector").status == "skipped"
