"""Annotation drift measures known shifts and nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from blobs import SPEC, Pointing, blobs
from torch.nn.functional import pad
from toy import IMAGE, DiscOptions, PointerOptions, simulator

from synthreal.config import EvaluationConfig
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.evaluation.estimator import Task, measure, train
from synthreal.hooks.catalog import Catalog
from synthreal.metrics.label_drift import annotation_drift


def moved(data, k):
    """Images moved right by k px, the border repeated."""
    image = pad(to_unit(data.image), (k, 0, 0, 0), mode="replicate")[..., : data.image.shape[-1]]
    return Resident(from_unit(image, "uint8" if data.image.dtype == torch.uint8 else "uint16"), data.labels)


def test_a_known_shift_is_measured_in_every_image():
    for dx, dy in [(1, 0), (0, -2), (1.5, 2.0)]:
        drift = annotation_drift(SPEC, Pointing(), blobs(40), blobs(40, dx, dy))
        distance = (dx**2 + dy**2) ** 0.5
        assert set(drift.moved) == set(drift.before) == set(drift.after) == {"error_px", "within_1px"}
        assert drift.moved["error_px"].shape == (40,)
        torch.testing.assert_close(drift.moved["error_px"], torch.full((40,), distance), atol=0.1, rtol=0)
        assert drift.before["error_px"].max() < 0.1
        torch.testing.assert_close(drift.after["error_px"], drift.moved["error_px"], atol=0.1, rtol=0)


def test_the_error_of_the_estimator_is_not_drift():
    plain, off = (annotation_drift(SPEC, Pointing(bias), blobs(40), blobs(40, 2)) for bias in (0.0, 5.0))
    torch.testing.assert_close(off.moved["error_px"], plain.moved["error_px"], atol=1e-4, rtol=0)
    assert off.before["error_px"].min() > 6
    assert off.after["error_px"].min() > 8


def test_errors_equal_those_of_measure():
    model, x, y = Pointing(1.0), blobs(30), blobs(30, 2)
    drift = annotation_drift(SPEC, model, x, y)
    for name in drift.before:
        assert torch.equal(drift.before[name], measure(SPEC, model, x)[name])
        assert torch.equal(drift.after[name], measure(SPEC, model, y)[name])


def test_rows_stay_in_order_across_batches(monkeypatch):
    x, y = blobs(30), blobs(30, 2)
    whole = annotation_drift(SPEC, Pointing(), x, y).moved["error_px"]
    monkeypatch.setattr("synthreal.data.resident.PREDICT", 7)
    assert torch.equal(annotation_drift(SPEC, Pointing(), x, y).moved["error_px"], whole)
    only_fifth = Resident(torch.where((torch.arange(30) == 5).view(-1, 1, 1, 1), y.image, x.image))
    found = annotation_drift(SPEC, Pointing(), x, only_fifth).moved["error_px"]
    assert found.nonzero().flatten().tolist() == [5]


def test_the_estimator_runs_in_eval_mode():
    class Shaky(Pointing):
        def forward(self, image):
            return super().forward(image) + self.training * torch.rand(1)

    assert (annotation_drift(SPEC, Shaky().train(), blobs(9), blobs(9)).moved["error_px"] == 0).all()


def test_several_answers_per_image_are_averaged():
    both = replace(SPEC, metrics=lambda pred, labels: {"error_px": (pred - labels["centre"])[:, 0].abs()})
    drift = annotation_drift(both, Pointing(), blobs(20), blobs(20, 3, 1))
    torch.testing.assert_close(drift.moved["error_px"], torch.full((20,), 2.0), atol=0.1, rtol=0)


def test_answer_converts_a_prediction_that_is_no_label():
    class Twice(Pointing):
        def forward(self, image):
            return {"doubled": 2 * super().forward(image)}

    twice = replace(SPEC, metrics=lambda pred, labels: SPEC.metrics(pred["doubled"] / 2, labels))
    with pytest.raises(UserError, match=r"evaluator 'pointer': predicts a dict for labels 'centre' .* an answer"):
        annotation_drift(twice, Twice(), blobs(5), blobs(5))
    read = replace(twice, answer=lambda pred, labels: {"centre": pred["doubled"] / 2})
    expected = annotation_drift(SPEC, Pointing(), blobs(9), blobs(9, 2)).moved["error_px"]
    torch.testing.assert_close(annotation_drift(read, Twice(), blobs(9), blobs(9, 2)).moved["error_px"], expected)


def test_labels_that_are_not_predicted_are_those_of_the_image():
    def metrics(pred, labels):
        return {"error_px": SPEC.metrics(pred, labels)["error_px"] * labels["scale"]}

    x = Resident(blobs(4).image, {**blobs(4).labels, "scale": torch.arange(4.0)})
    found = annotation_drift(replace(SPEC, metrics=metrics), Pointing(), x, blobs(4, 2)).moved["error_px"]
    torch.testing.assert_close(found, 2 * torch.arange(4.0), atol=0.3, rtol=0)


def test_sets_that_do_not_match_are_an_error():
    for x, y, message in [
        (blobs(5), blobs(4), r"given \[5, 1, 12, 16\] and \[4, 1, 12, 16\]; give images and their refined versions"),
        (blobs(0), blobs(0), "at least one"),
        (Resident(blobs(5).image), blobs(5), "the simulated images have no label 'centre'"),
    ]:
        with pytest.raises(UserError, match=f"annotation_drift: .*{message}"):
            annotation_drift(SPEC, Pointing(), x, y)


def toy():
    batch = simulator(DiscOptions(), 400, torch.Generator().manual_seed(0))
    budget = EvaluationConfig(images=300, epochs=4, batch=20, learning_rate=0.01)
    return SPEC, PointerOptions(), IMAGE, batch, budget


def domain(name, n, options, budget, **source):
    catalog = Catalog.of((name,))
    drawn = catalog.dataset("simulator", "simulated")
    batch = drawn.render(drawn.options(**source), n, torch.Generator().manual_seed(0))
    spec = catalog.evaluator(name)
    return spec, spec.options(**options), drawn.image, batch, EvaluationConfig(**budget)


def gaze():
    small = {"widths": (8, 8, 8, 16, 32), "hidden": (64,)}
    return domain("gaze", 700, small, {"images": 600, "epochs": 4, "batch": 32, "learning_rate": 3e-3})


def hands():
    small = {"features": 8, "stacks": 1, "maps": 16}
    return domain("hands", 60, small, {"images": 40, "epochs": 1, "batch": 20, "learning_rate": 3e-3})


@cache
def estimator(make):
    """The task, an estimator trained for seconds, and images it has not seen."""
    spec, options, image, batch, budget = make()
    data = Resident(from_unit(batch.image, image.dtype), batch.labels)
    model = train(Task(spec, options, image, budget), data.first(budget.images), seed=0)
    rest = {name: values[budget.images :] for name, values in data.labels.items()}
    return spec, model, Resident(data.image[budget.images :], rest)


@pytest.mark.parametrize("make", [toy, gaze, hands])
def test_equal_images_have_exactly_zero_drift(make):
    spec, model, data = estimator(make)
    drift = annotation_drift(spec, model, data, Resident(data.image.clone()))
    assert (drift.moved[spec.primary] == 0).all()
    assert all(torch.equal(drift.before[name], drift.after[name]) for name in drift.before)
    assert drift.before[spec.primary].mean() > 0


@pytest.mark.parametrize("make", [toy, gaze])
def test_drift_grows_with_the_shift(make):
    spec, model, data = estimator(make)
    drifts = [float(annotation_drift(spec, model, data, moved(data, k)).moved[spec.primary].mean()) for k in range(4)]
    assert drifts[0] == 0
    assert drifts == sorted(drifts) and len(set(drifts)) == 4


def test_every_metric_of_a_task_with_many_answers_has_a_value_per_image():
    spec, model, data = estimator(hands)
    drift = annotation_drift(spec, model, data, moved(data, 2))
    assert {name: len(values) for name, values in drift.moved.items()} == dict.fromkeys(
        ("error_px", "error_mm", "pck_5px"), len(data)
    )
    assert drift.moved["error_px"].min() > 0 and drift.moved["error_mm"].min() > 0
