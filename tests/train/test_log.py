"""Reports: exact means, warnings, and a log that survives a kill."""

from __future__ import annotations

import json

import pytest
import torch

from synthreal.config import LossConfig
from synthreal.core.game import DiscriminatorUpdate, RefinerUpdate
from synthreal.errors import UserError
from synthreal.train.log import MetricAccumulator, Report, append_log, non_finite_values, training_warnings, trim_log


def report(step=1, **more):
    fields = {
        "phase": "game",
        "loss_adversarial": 0.7,
        "loss_regularization": 0.1,
        "loss_discriminator": 1.4,
        "accuracy_real": 0.5,
        "accuracy_refined": 0.5,
        "change": 0.1,
        "images_per_second": 10.0,
    }
    return Report(step=step, **{**fields, **more})


def scalar(value):
    return torch.tensor(float(value))


def test_the_accumulator_averages_over_updates_and_resets():
    metrics = MetricAccumulator()
    for value in (1, 2, 6):
        metrics.refiner(RefinerUpdate(scalar(value), scalar(10 * value), scalar(100 * value)), 8)
    metrics.discriminator(DiscriminatorUpdate(scalar(4), scalar(0.25), scalar(1)), 8)
    first = metrics.report(5, "game", LOSS, warmed_up=False)
    assert (first.loss_adversarial, first.loss_regularization, first.change) == (3, 30, 300)
    assert (first.loss_discriminator, first.accuracy_real, first.accuracy_refined) == (4, 0.25, 1)
    assert first.images_per_second > 0
    metrics.refiner(RefinerUpdate(None, scalar(7), scalar(7)), 8)
    second = metrics.report(6, "refiner", LOSS, warmed_up=False)
    assert (second.loss_adversarial, second.loss_regularization, second.loss_discriminator) == (None, 7, None)


def test_half_precision_losses_are_summed_in_float32():
    metrics = MetricAccumulator()
    for _ in range(1000):
        metrics.refiner(RefinerUpdate(None, torch.tensor(1.0, dtype=torch.bfloat16), scalar(0)), 1)
    assert metrics.report(1, "refiner", LOSS, warmed_up=False).loss_regularization == 1.0


LOSS = LossConfig()
BOTH = ["identity refiner", "saturated discriminator"]


@pytest.mark.parametrize(
    ("change", "warmed_up", "kinds"),
    [
        ({}, True, []),
        ({"change": 0.009}, True, ["identity refiner"]),
        ({"change": 0.009}, False, []),
        ({"change": 0.011}, True, []),
        ({"accuracy_real": 0.995, "accuracy_refined": 0.992}, True, ["saturated discriminator"]),
        ({"accuracy_real": 0.995, "accuracy_refined": 0.98}, True, []),
        ({"accuracy_real": 1.0, "accuracy_refined": 1.0}, False, []),
        ({"accuracy_real": 1.0, "accuracy_refined": 1.0, "change": 0.0}, True, BOTH),
        ({"accuracy_real": None, "accuracy_refined": None, "change": None}, True, []),
    ],
)  # fmt: skip
def test_warnings(change, warmed_up, kinds):
    warnings = training_warnings(report(**change), LOSS, warmed_up=warmed_up)
    assert [warning.partition(":")[0] for warning in warnings] == kinds
    assert all(";" in warning for warning in warnings)  # each gives a remedy


@pytest.mark.parametrize(("weight", "remedy"), [(8.0, "; lower loss.weight"), ("auto", "; raise loss.drift_px")])
def test_the_remedy_for_an_identity_names_the_setting_that_decides(weight, remedy):
    (warning,) = training_warnings(report(change=0.0), LossConfig(weight=weight), warmed_up=True)
    assert remedy in warning


def test_non_finite_values_are_named():
    assert non_finite_values(report()) == []
    for value in (float("nan"), float("inf")):
        assert non_finite_values(report(loss_adversarial=value, accuracy_real=None)) == ["loss_adversarial"]


def test_the_log_is_trimmed_to_a_step_and_a_broken_last_line_is_dropped(tmp_path):
    for step in (1, 2, 3, 4):
        append_log(tmp_path, report(step, warnings=("a: b",)))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "pha')
    trim_log(tmp_path, 3)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[0]["warnings"] == ["a: b"]
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('not json\n{"step": "many"}\n[]\n{"step": 2')
    trim_log(tmp_path, 2)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2]
    trim_log(tmp_path / "without", 3)  # no log yet: nothing to do
    assert not (tmp_path / "without").exists()


def test_a_log_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"log\.jsonl: cannot write"):
        append_log(tmp_path, report())
