"""Quality of a training set without labels of real images: its realism, and the drift of its labels."""

from __future__ import annotations

from torch import Tensor, nn

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.metrics.displacement import COUNT as MOVED, LARGEST_PX, displacement_field, is_measurable
from synthreal.metrics.distances import SIDE, realism
from synthreal.metrics.features import estimator_features
from synthreal.metrics.label_drift import annotation_drift, predicts_labels
from synthreal.metrics.mmd import kid
from synthreal.metrics.twosample import LEAST, two_sample_test
from synthreal.results.schema import Quality
from synthreal.spec import EvaluatorSpec

COUNT = 500
SEED = 0


def summarize_quality(
    spec: EvaluatorSpec | None, model: nn.Module | None, images: Resident, real: Tensor, simulated: Resident | None
) -> Quality:
    """Compare a training set with unlabelled real images, and with the simulated images it was made of, row by row.

    ``model`` is the estimator trained on simulated images alone, None without an evaluator; ``real`` is
    ``(M, C, H, W)`` in [0, 1]; the first 500 images of each set are used. The estimator's features are divided by their
    root mean square on real images. Distances are absent below 8 px, ``kid_estimator`` also if all features of real
    images are 0, ``two_sample`` below 20 images and without an evaluator, ``displacement_px`` without ``simulated`` or
    if it cannot be measured, and ``drift`` without ``simulated`` or if a prediction cannot be converted to labels.
    """
    first = images.first(COUNT)
    a, b = to_unit(first.image), real[:COUNT]
    smallest, drift, displacement_px = min(len(a), len(b)), None, None
    distances: dict[str, float] = {}
    if min(*a.shape[2:]) >= SIDE and smallest > 1:
        distances = realism(a, b, seed=SEED)
    if simulated is not None and is_measurable(x := to_unit(simulated.first(MOVED).image)):
        moved = displacement_field(x, a[:MOVED]).mean_px()
        displacement_px = LARGEST_PX if moved is None else moved
    two_sample = None
    if spec is not None and model is not None:
        if distances:
            features = [estimator_features(model, part).double() for part in (a, b)]
            if (unit := features[1].square().mean().sqrt()) > 0:  # KID is not invariant to scale: 5e7 for large ones
                distances["kid_estimator"] = float(kid(features[0] / unit, features[1] / unit))
        if simulated is not None and predicts_labels(spec, model, simulated):
            answers = annotation_drift(spec, model, simulated.first(COUNT), first).moved
            drift = {name: float(values.mean()) for name, values in answers.items()}
        two_sample = two_sample_test(a, b, seed=SEED) if smallest >= LEAST else None
    return Quality(**distances, two_sample=two_sample, displacement_px=displacement_px, drift=drift)
