"""Offset told apart from scatter: the error of an estimator by cause, and after calibration with a few photographs.

An evaluator's quantities (angles, coordinates) are compared one by one with the truth: the offset is the mean of
prediction - truth, the slope that of the least-squares line of predictions over the truth, the scatter the deviation
from that line. The mean squared error is offset^2 + (slope - 1)^2 var(truth) + scatter^2, exactly. Offset and slope
come from a simulator or a convention that is wrong in the same way for every image, and a few labelled photographs
correct them, as gaze trackers are calibrated with nine targets; only better training images reduce the scatter.

The correction of a quantity is affine, truth = scale * prediction + shift, fitted to k photographs by least squares
with a ridge towards scale 1: three more images, of the spread of the k, that lie on a line of that slope. Below five
photographs only the shift is fitted. Simulated with 16 pairs of slope (0.2 to 1) and noise (0.1 to 1 deviation of the
truth), 20,000 draws each, geometric means of the mean squared error against that of the best affine correction, which
knows all images:

- 9 photographs: shift alone 1.77, least squares 1.30, ridge of 1, 3 and 9 images 1.27, 1.27 and 1.37
- 5 photographs: shift alone 1.92, least squares 1.80, ridge of 1, 3 and 9 images 1.64, 1.57 and 1.63
- 3 photographs: shift alone 2.13, least squares 9.64, ridge of 1, 3 and 9 images 6.12, 3.75 and 2.41

Shrinking by the significance of the slope (James-Stein, pretest) was no better at 9 (1.28, 1.32) and worse at 5. The
error after calibration depends on which photographs are labelled, so it is the mean over 20 choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from synthreal.data.ondisk import OnDisk
from synthreal.data.quantities import join_components, split_components
from synthreal.data.resident import Resident, prediction_batches
from synthreal.data.seed import derived_generator
from synthreal.metrics.label_drift import to_labels
from synthreal.results.schema import Calibration, Quantity
from synthreal.spec import Batch, EvaluatorSpec

CHOICES = 20
RIDGE = 3.0  # images
FEW = 5  # photographs, below which only the shift is fitted
CONSTANT = 1e-14  # share of the mean square up to which a variance is rounding


class Line(NamedTuple):
    """The error of one quantity by cause, each ``(P,)`` for P places in the unit of the quantity; slope may be NaN."""

    offset: Tensor
    slope: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, predicted: Tensor, true: Tensor) -> Line:
        """Compare ``(N, P)`` predictions with the truth; a constant truth has no slope."""
        centred, around = predicted - predicted.mean(0), true - true.mean(0)
        square = around.square().sum(0)
        slope = torch.where(_varies(square, true), (around * centred).sum(0) / square, torch.nan)
        scatter = (centred - slope.nan_to_num() * around).square().mean(0).sqrt()
        return cls((predicted - true).mean(0), slope, scatter)


class Correction(NamedTuple):
    """truth = scale * prediction + shift, each ``(P,)``."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, predicted: Tensor, true: Tensor) -> Correction:
        """Fit to ``(k, P)`` predictions and truths, as the module's text says."""
        mean, target = predicted.mean(0), true.mean(0)
        centred, error = predicted - mean, (true - target) - (predicted - mean)
        square = (1 + RIDGE / len(predicted)) * centred.square().sum(0)
        slope = torch.where(_varies(square, predicted), (centred * error).sum(0) / square, 0.0)
        scale = 1 + (slope if len(predicted) >= FEW else torch.zeros_like(slope))
        return cls(scale, target - scale * mean)

    def apply(self, values: Tensor) -> Tensor:
        """Correct predictions ``(B, *shape)`` of P numbers each."""
        return (self.scale * _flat(values) + self.shift).to(values.dtype).reshape(values.shape)


def _varies(square: Tensor, values: Tensor) -> Tensor:
    return square > CONSTANT * values.square().sum(0)


def _flat(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).double()


@dataclass(frozen=True)
class Photographs:
    """Random choices of labelled real images to calibrate with, row numbers ``(k,)``, the same for every estimator."""

    source: Resident | OnDisk
    rows: tuple[Tensor, ...]

    @classmethod
    def choose(cls, source: Resident | OnDisk, count: int, *, trained: int) -> Photographs:
        """Choose ``count`` images 20 times, beyond the first ``trained`` if there are enough, which ``real`` has seen.

        Of fewer images there is one choice: all of them.
        """
        first = trained if len(source) - trained >= count else 0
        total = len(source) - first
        generators = (derived_generator("cpu", choice, "calibration") for choice in range(CHOICES))
        orders = [torch.randperm(total, generator=generator)[:count] for generator in generators]
        return cls(source, tuple(first + order for order in (orders if total > count else orders[:1])))

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.rows:
            source = self.source
            yield source.select(rows) if isinstance(source, Resident) else source.upload(source.fetch(rows))


@dataclass(frozen=True)
class Answers:
    """What is known of one estimator's answers: the error by cause of each quantity, and after calibration.

    ``corrected`` is the mean primary metric for each of the choices of ``images`` photographs; None without any.
    """

    lines: Mapping[str, Line]
    images: int = 0
    corrected: Tensor | None = None


@torch.no_grad()
def judge(spec: EvaluatorSpec, model: nn.Module, test: Resident, photographs: Photographs | None) -> Answers | None:
    """Compare the quantities that an estimator predicts for ``test`` with the truth, and calibrate it.

    Returns:
        None if the evaluator has no quantities: it classifies, or its predictions are not in the shape of its label.
    """
    model.eval()
    corrections: list[dict[str, Correction]] = []
    for batch in photographs or ():
        if (found := _compare(spec, model(batch.image), batch.labels)) is None:
            return None
        corrections.append({name: Correction.fit(*map(_flat, pair)) for name, pair in found.items()})
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
    errors: list[Tensor] = []
    for rows in prediction_batches(test):
        batch = test.select(rows)
        pred = model(batch.image)
        if (found := _compare(spec, pred, batch.labels)) is None:
            return None
        for name, (predicted, true) in found.items():
            pairs.setdefault(name, []).append((_flat(predicted), _flat(true)))
        corrected = (
            {name: each[name].apply(predicted) for name, (predicted, _) in found.items()} for each in corrections
        )
        metrics = [spec.metrics(_assign(spec, pred, values), batch.labels)[spec.primary] for values in corrected]
        errors += [torch.stack([values.double().reshape(len(rows), -1).mean(1) for values in metrics])] * bool(metrics)
    lines = {name: Line.of(*map(torch.cat, zip(*parts, strict=True))) for name, parts in pairs.items()}
    if photographs is None:
        return Answers(lines)
    return Answers(lines, len(photographs.rows[0]), torch.cat(errors, dim=1).mean(1).cpu())


def summarize_answers(found: Sequence[Answers]) -> Calibration:
    """The means over estimators; the deviation is that of the choices of photographs, for one estimator on average."""
    quantities = {
        name: Quantity(
            offset=_mean([answers.lines[name].offset for answers in found]),
            slope=tuple(
                None if value != value else value for value in _mean([answers.lines[name].slope for answers in found])
            ),
            scatter=_mean([answers.lines[name].scatter for answers in found]),
        )
        for name in found[0].lines
    }
    corrected = [answers.corrected for answers in found if answers.corrected is not None]
    if not corrected:
        return Calibration(quantities=quantities)
    errors = torch.stack(corrected)
    std = float(errors.std(dim=1).mean()) if errors.shape[1] > 1 else None
    return Calibration(quantities=quantities, images=found[0].images, error=float(errors.mean()), std=std)


def _mean(values: Sequence[Tensor]) -> tuple[float, ...]:
    return tuple(torch.stack(tuple(values)).mean(0).tolist())


def _compare(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]] | None:
    """The predicted and the true values ``(B, *shape)`` of each quantity; None if there are none."""
    if spec.quantities is not None:
        answer = to_labels(spec, pred, labels)
        if answer is None:
            return None
        predicted, true = spec.quantities({**labels, **answer}), spec.quantities(labels)
    else:
        label = spec.requires[0]
        values = labels[label.name]
        shaped = isinstance(pred, Tensor) and pred.shape == values.shape
        if spec.answer is not None or not shaped or not values.is_floating_point():
            return None
        predicted, true = (split_components(label, each) for each in (pred, values))
    return {name: (values, true[name]) for name, values in predicted.items()}


def _assign(spec: EvaluatorSpec, pred: Any, values: Mapping[str, Tensor]) -> Any:
    """The prediction with other values of its quantities."""
    return join_components(values, pred.shape) if spec.assign is None else spec.assign(pred, values)
