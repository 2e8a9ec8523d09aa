"""Quality without labels of real images: every number is that of the function that computes it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from blobs import SPEC, Pointing, blobs
from toy import Pointer

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.metrics import summary
from synthreal.metrics.distances import realism
from synthreal.metrics.features import estimator_features
from synthreal.metrics.label_drift import annotation_drift
from synthreal.metrics.mmd import kid
from synthreal.metrics.summary import COUNT, SEED, summarize_quality
from synthreal.metrics.twosample import two_sample_test

REAL = to_unit(blobs(60, 3).image)


@pytest.fixture
def short(monkeypatch):
    """Five training steps in the two-sample test, for tests of other numbers."""
    monkeypatch.setattr(summary, "two_sample_test", partial(two_sample_test, steps=5))


def test_numbers_are_those_of_the_metrics():
    torch.manual_seed(0)
    model, x, y = Pointer(6).eval(), blobs(60), blobs(60, 2)
    found = summarize_quality(SPEC, model, y, REAL, x)
    distances = realism(to_unit(y.image), REAL, seed=SEED)
    result = two_sample_test(to_unit(y.image), REAL, seed=SEED)
    features, real = (estimator_features(model, images).double() for images in (to_unit(y.image), REAL))
    unit = real.square().mean().sqrt()
    assert found.to_json() == {
        **distances,
        "kid_estimator": float(kid(features / unit, real / unit)),
        "two_sample": result.to_json(),
        "drift": {k: float(v.mean()) for k, v in annotation_drift(SPEC, model, x, y).moved.items()},
    }


def test_real_images_are_like_themselves_and_shifted_ones_are_not():
    torch.manual_seed(0)
    model = Pointer(6).eval()
    same, other = (summarize_quality(SPEC, model, blobs(60, dx), REAL, blobs(60)) for dx in (3, 0))
    for name in ("kid", "kid_estimator", "sliced_wasserstein", "spectrum"):
        assert getattr(same, name) < getattr(other, name)
    assert same.two_sample.p > 0.01 > other.two_sample.p
    assert (other.drift["error_px"], other.drift["within_1px"]) == (0, 100)
    assert same.drift["error_px"] > 0


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_distance_on_an_estimators_features_does_not_depend_on_their_scale(short, scale):
    torch.manual_seed(0)
    model, x = Pointer(6).eval(), blobs(60)
    before = summarize_quality(SPEC, model, x, REAL, None).kid_estimator
    with torch.no_grad():  # the hidden features, and the last layer undoes it
        model.map[0].weight.mul_(scale)
        model.map[0].bias.mul_(scale)
        model.map[2].weight.div_(scale)
    assert summarize_quality(SPEC, model, x, REAL, None).kid_estimator == pytest.approx(before, rel=1e-3)
    assert 0 < before < 100


def test_features_that_are_all_zero_have_no_distance(short):
    model = Pointer(6).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    assert summarize_quality(SPEC, model, blobs(60), REAL, None).kid_estimator is None


def test_only_the_first_images_are_used(short):
    torch.manual_seed(0)
    model, many = Pointer(6).eval(), blobs(COUNT + 40)
    changed = Resident(many.image.clone(), many.labels)
    changed.image[COUNT:] = 0
    real = to_unit(blobs(COUNT + 40, 1).image)
    assert summarize_quality(SPEC, model, changed, real, many) == summarize_quality(
        SPEC, model, many, real[:COUNT], many
    )


def test_metrics_that_need_more_images_are_absent(short):
    for n, m, absent in [
        (60, 19, {"two_sample"}),
        (60, 1, {"two_sample", "kid", "kid_estimator", "sliced_wasserstein", "spectrum"}),
    ]:
        everything = {"kid", "kid_estimator", "sliced_wasserstein", "spectrum", "two_sample", "drift"}
        found = summarize_quality(SPEC, Pointer(6), blobs(n), REAL[:m], blobs(n))
        assert set(found.to_json()) == everything - absent


def test_no_drift_without_simulated_images_or_without_labels_in_the_prediction(short):
    class Twice(Pointing):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(2, 2)

        def forward(self, image):
            return {"doubled": self.last(super().forward(image))}

    assert summarize_quality(SPEC, Pointer(6), blobs(30), REAL, None).drift is None
    assert summarize_quality(SPEC, Twice(), blobs(30), REAL, blobs(30)).drift is None
    read = replace(
        SPEC,
        answer=lambda pred, labels: {"centre": pred["doubled"]},
        metrics=lambda pred, labels: SPEC.metrics(pred["doubled"], labels),
    )
    assert summarize_quality(read, Twice(), blobs(30), REAL, blobs(30)).drift is not None
