"""All that can be said of a training set without labels of real images: does it look real, and are its labels true?"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.metrics.distances import SIDE, realism
from synthreal.metrics.features import estimator_features
from synthreal.metrics.label_drift import annotation_drift, predicts_labels
from synthreal.metrics.mmd import kid
from synthreal.metrics.twosample import LEAST, two_sample_test
from synthreal.spec import EvaluatorSpec

COUNT = 500
SEED = 0


def summarize_quality(
    spec: EvaluatorSpec, model: nn.Module, images: Resident, real: Tensor, simulated: Resident | None
) -> dict[str, Any]:
    """Measure a training set against unlabelled real images, and what became of each simulated image.

    Args:
        spec: the task.
        model: its estimator, trained on simulated images alone.
        images: the training set in stored dtype; the first 500 count.
        real: real images ``(M, C, H, W)`` in [0, 1], likewise.
        simulated: the simulated images that ``images`` were made of, row by row; None where there are none.

    Returns:
        The distances of :func:`synthreal.metrics.distances.realism` and ``kid_estimator``, KID on the estimator's
        features (absent for images below 8 px); ``two_sample`` with ``accuracy``, ``correct``, ``total`` and ``p``
        (absent for fewer than 20 images); ``drift``, the mean of each metric of
        :func:`synthreal.metrics.label_drift.annotation_drift` (absent without ``simulated``, or where a prediction
        cannot be read as a label).
    """
    found: dict[str, Any] = {}
    first = images.first(COUNT)
    a, b = to_unit(first.image), real[:COUNT]
    if min(*a.shape[2:]) >= SIDE and min(len(a), len(b)) > 1:
        found |= realism(a, b, seed=SEED)
        found["kid_estimator"] = float(kid(estimator_features(model, a), estimator_features(model, b)))
    if min(len(a), len(b)) >= LEAST:
        told = two_sample_test(a, b, seed=SEED)
        found["two_sample"] = {
            "accuracy": told.accuracy,
            "correct": told.correct,
            "total": told.total,
            "p": told.p,
        }
    if simulated is not None and predicts_labels(spec, model, simulated):
        drift = annotation_drift(spec, model, simulated.first(COUNT), first)
        found["drift"] = {name: float(values.mean()) for name, values in drift.moved.items()}
    return found
