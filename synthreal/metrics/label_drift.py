"""How far refinement moves the answer of an estimator, per image and in its own units (degrees, px, mm).

An estimator trained on simulated images alone predicts on x and on R(x); the metrics of the evaluator compare the two
predictions. SimGAN 3.1 ("preserving annotations") measures this with a pupil detector, here
:mod:`synthreal.metrics.landmark_shift`; an estimator also works where no detector exists.

The result is an upper bound: an estimator also errs on R(x) because such images are new to it. Histogram-matched
images in place of R(x), in which nothing moved, show the effect of a change of tone alone. On a run of the recipe
``gaze`` the bound is loose: R(x) reads 6.9 deg, histogram-matched eyes 7.7 and x moved by 1 px 1.8, while the pupil
detector finds R(x) moved by 0.2 px. Interpret it beside these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from synthreal.data.resident import Resident, prediction_batches
from synthreal.errors import UserError
from synthreal.spec import EvaluatorSpec


@dataclass(frozen=True)
class Drift:
    """Every metric of every image, name -> ``(N,)`` on the CPU, the mean over the K answers of an image."""

    moved: Mapping[str, Tensor]  # the prediction on R(x) against that on x; 0 if refinement changed nothing
    before: Mapping[str, Tensor]  # the prediction on x against the label: the error of the estimator itself
    after: Mapping[str, Tensor]  # the prediction on R(x) against the label


@torch.no_grad()
def annotation_drift(spec: EvaluatorSpec, model: nn.Module, simulated: Resident, refined: Resident) -> Drift:
    """Measure how far refinement moved the predictions of ``model``.

    Args:
        spec: the evaluator; its ``answer`` converts a prediction to labels.
        model: its estimator, trained on simulated images alone, preferably others than these.
        simulated: the images x with their labels.
        refined: R(x), row by row.

    Raises:
        UserError: sets of different shapes, missing labels, or predictions that cannot be converted to labels.
    """
    if refined.image.shape != simulated.image.shape or not len(simulated):
        shapes = f"{list(simulated.image.shape)} and {list(refined.image.shape)}"
        raise UserError(f"annotation_drift: given {shapes}; give images and their refined versions, at least one")
    if missing := [label.name for label in spec.requires if label.name not in simulated.labels]:
        raise UserError(f"annotation_drift: the simulated images have no label {missing[0]!r}; give them with labels")
    model.eval()
    totals: tuple[dict[str, list[Tensor]], ...] = ({}, {}, {})
    for rows in prediction_batches(simulated):
        x, y = simulated.select(rows), refined.select(rows)
        on_x, on_y = model(x.image), model(y.image)
        if (answer := to_labels(spec, on_x, x.labels)) is None:
            shown = list(on_x.shape) if isinstance(on_x, Tensor) else f"a {type(on_x).__name__}"
            label = f"labels {spec.requires[0].name!r} {list(x.labels[spec.requires[0].name].shape)}"
            remedy = "give it an answer, which converts a prediction to labels"
            raise UserError(f"evaluator {spec.name!r}: predicts {shown} for {label}; {remedy}")
        compared = ((on_y, {**x.labels, **answer}), (on_x, x.labels), (on_y, x.labels))
        for values, (pred, labels) in zip(totals, compared, strict=True):
            for name, found in spec.metrics(pred, labels).items():
                values.setdefault(name, []).append(found.float().reshape(len(rows), -1).mean(1).cpu())
    return Drift(*({name: torch.cat(found) for name, found in values.items()} for values in totals))


@torch.no_grad()
def predicts_labels(spec: EvaluatorSpec, model: nn.Module, simulated: Resident) -> bool:
    """Whether predictions of ``model`` can be converted to labels, which :func:`annotation_drift` requires."""
    batch = simulated.select(torch.arange(1))
    return to_labels(spec, model.eval()(batch.image), batch.labels) is not None


def to_labels(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """The labels for which ``pred`` would be right; None if it has another shape and there is no ``answer``."""
    if spec.answer is not None:
        return spec.answer(pred, labels)
    first = spec.requires[0].name
    return {first: pred} if isinstance(pred, Tensor) and pred.shape == labels[first].shape else None
