"""The error of an estimator by cause (offset, slope, scatter), and after calibration with a few photographs.

An evaluator's quantities (angles, coordinates) are compared one by one with the truth: the offset is the mean of
prediction - truth, the slope that of the least-squares line of predictions over the truth, the scatter the deviation
from that line. The mean squared error is offset^2 + (slope - 1)^2 var(truth) + scatter^2, exactly. Offset and slope
come from a simulator or a convention that is wrong in the same way for every image, and a few labelled photographs
correct them, as gaze trackers are calibrated with nine targets. Such a correction scales the scatter, at most.

The correction of a quantity is affine, truth = scale * prediction + shift, fitted to k photographs by least squares
with a ridge towards scale 1, as if three more images, of the spread of the k, were predicted right but for the shift.
Below five photographs only the shift is fitted. Simulated with 16 pairs of slope (0.2 to 1) and noise (0.1 to 1
deviation of the truth), 20,000 draws each, geometric means of the mean squared error against that of the best affine
correction, which knows all images:

- 9 photographs: shift alone 1.77, least squares 1.30, ridge of 1, 3 and 9 images 1.27, 1.27 and 1.37
- 5 photographs: shift alone 1.92, least squares 1.80, ridge of 1, 3 and 9 images 1.64, 1.57 and 1.63
- 3 photographs: shift alone 2.13, least squares 9.64, ridge of 1, 3 and 9 images 6.12, 3.75 and 2.41

Shrinking by the significance of the slope (James-Stein, pretest) was no better at 9 (1.29, 1.32) and worse at 5. Five
estimators of one short gaze run (2026-12-01, 100 choices): with 9 photographs a ridge of 9 is up to 1.1 % better than
one of 3, shift alone 1.9 % better to 5.8 % worse; but with a slope of 0.5 and little noise a ridge of 9 leaves 1.3
times the error of one of 3.

The error after calibration depends on which photographs are labelled: it is the mean over 100 choices from a pool of
20 k. A noisy estimator answers near the mean, so a slope below 1 need not be the simulator's fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from synthreal.data.ondisk import OnDisk
from synthreal.data.quantities import join_components, split_components
from synthreal.data.resident import Resident, prediction_batches
from synthreal.data.seed import derived_generator
from synthreal.metrics.label_drift import to_labels
from synthreal.results.schema import Calibration, Quantity
from synthreal.spec import Batch, EvaluatorSpec

CHOICES = 100
POOL = 20  # images to choose from, for each photograph of a choice
BATCH = 16  # images that are read at once
RIDGE = 3.0  # images
FEW = 5  # photographs, below which only the shift is fitted
NUMBERS = 2000  # of a label, at most; one of more is a map, whose pixels are no quantities
CONSTANT = 1e-14  # share of the mean square up to which a variance is rounding

Pairs: TypeAlias = dict[str, tuple[Tensor, Tensor]]  # quantity -> predicted and true values


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
        fitted = _varies(square, predicted) & (len(predicted) >= FEW)
        scale = 1 + torch.where(fitted, (centred * error).sum(0) / square, 0.0)
        return cls(scale, target - scale * mean)

    def apply(self, values: Tensor) -> Tensor:
        """Correct predictions ``(B, *shape)`` of P numbers each."""
        return (self.scale * columns(values) + self.shift).to(values.dtype).reshape(values.shape)


def _varies(square: Tensor, values: Tensor) -> Tensor:
    return square > CONSTANT * values.square().sum(0)


def columns(values: Tensor) -> Tensor:
    """Values ``(N, *shape)`` as float64 ``(N, P)``."""
    return values.reshape(len(values), -1).double()


@dataclass(frozen=True)
class Photographs:
    """Labelled real images to calibrate with, ``rows`` ``(M,)`` of ``source``, the same for every estimator.

    ``choices`` are random choices ``(k,)`` of them, as places in ``rows``.
    """

    source: Resident | OnDisk
    rows: Tensor
    choices: tuple[Tensor, ...]

    @classmethod
    def choose(cls, source: Resident | OnDisk, count: int, *, trained: int) -> Photographs:
        """Choose ``count`` images many times; beyond the first ``trained``, which ``real`` saw, if there are enough.

        Of fewer images there is one choice: all of them.
        """
        first = trained if len(source) - trained >= count else 0
        total = len(source) - first
        rows = first + torch.randperm(total, generator=derived_generator("cpu", 0, "photographs"))[: POOL * count]
        generators = (derived_generator("cpu", choice, "calibration") for choice in range(CHOICES))
        orders = tuple(torch.randperm(len(rows), generator=generator)[:count] for generator in generators)
        return cls(source, rows, orders if len(rows) > count else orders[:1])

    def __iter__(self) -> Iterator[Batch]:
        source = self.source
        for rows in self.rows.split(BATCH):
            yield source.select(rows)


@dataclass(frozen=True)
class Causes:
    """The error of one estimator: by cause, for each quantity, and after calibration.

    ``corrected`` is the mean primary metric for each of the choices of ``images`` photographs; None without any.
    """

    lines: Mapping[str, Line]
    images: int = 0
    corrected: Tensor | None = None


@torch.no_grad()
def has_quantities(spec: EvaluatorSpec, model: nn.Module, test: Resident) -> bool:
    """Whether an estimator predicts numbers, by name or in the shape of its label, and not classes."""
    batch = test.select(torch.arange(1))
    return bool(_compare(spec, model.eval()(batch.image), batch.labels))


@torch.no_grad()
def find_causes(spec: EvaluatorSpec, model: nn.Module, test: Resident, photographs: Photographs | None) -> Causes:
    """Compare the quantities of an estimator that :func:`has_quantities` with the truth, and calibrate it."""
    model.eval()
    known = _collect(_compare(spec, model(batch.image), batch.labels) for batch in photographs or ())
    choices = () if photographs is None else photographs.choices
    corrections = [
        {name: Correction.fit(*(part[choice] for part in pair)) for name, pair in known.items()} for choice in choices
    ]
    parts: list[Pairs] = []
    errors: list[list[Tensor]] = [[] for _ in corrections]
    for rows in prediction_batches(test):
        batch = test.select(rows)
        pred = model(batch.image)
        parts.append(_compare(spec, pred, batch.labels))
        for correction, found in zip(corrections, errors, strict=True):
            values = {name: correction[name].apply(predicted) for name, (predicted, _) in parts[-1].items()}
            error = spec.metrics(_assign(spec, pred, values), batch.labels)[spec.primary]
            found.append(error.double().reshape(len(rows), -1).mean(1))
    lines = {name: Line.of(*pair) for name, pair in _collect(parts).items()}
    if not choices:
        return Causes(lines)
    return Causes(lines, len(choices[0]), torch.stack([torch.cat(found).mean() for found in errors]).cpu())


def summarize_causes(results: Iterable[tuple[str, Causes | None]]) -> dict[str, Calibration]:
    """The means over the estimators of each arm, given as pairs of arm and causes; arms without causes are left out.

    The deviation is that over choices of photographs, of one estimator on average.
    """
    by_arm: dict[str, list[Causes]] = {}
    for arm, causes in results:
        if causes is not None:
            by_arm.setdefault(arm, []).append(causes)
    return {arm: _summarize(found) for arm, found in by_arm.items()}


def _summarize(found: Sequence[Causes]) -> Calibration:
    quantities = {}
    for name in found[0].lines:
        parts = zip(*(causes.lines[name] for causes in found), strict=True)
        offset, slope, scatter = (tuple(torch.stack(part).mean(0).tolist()) for part in parts)
        slopes = tuple(None if math.isnan(value) else value for value in slope)
        quantities[name] = Quantity(offset=offset, slope=slopes, scatter=scatter)
    corrected = [causes.corrected for causes in found if causes.corrected is not None]
    if not corrected:
        return Calibration(quantities=quantities)
    errors = torch.stack(corrected)
    std = float(errors.std(dim=1).mean()) if errors.shape[1] > 1 else None
    return Calibration(quantities=quantities, images=found[0].images, error=float(errors.mean()), std=std)


def _compare(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> Pairs:
    """The predicted and the true values ``(B, *shape)`` of each quantity; empty if there are none."""
    answer, true = to_labels(spec, pred, labels), label_quantities(spec, labels)
    if answer is None or not true:
        return {}
    predicted = label_quantities(spec, {**labels, **answer})
    return {name: (values, true[name]) for name, values in predicted.items()}


def label_quantities(spec: EvaluatorSpec, labels: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The quantities of labels ``(B, *L)``, name -> ``(B, *shape)``, as ``EvaluatorSpec.quantities`` says."""
    if spec.quantities is not None:
        return spec.quantities(labels)
    label = spec.requires[0]
    values = labels[label.name]
    if spec.answer is not None or not values.is_floating_point() or values.shape[1:].numel() > NUMBERS:
        return {}
    return split_components(label, values)


def _collect(parts: Iterable[Pairs]) -> Pairs:
    """The pairs of all batches as ``(N, P)``, in float64."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for part in parts:
        for name, (predicted, true) in part.items():
            found.setdefault(name, []).append((columns(predicted), columns(true)))
    return {name: (torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs])) for name, pairs in found.items()}


def _assign(spec: EvaluatorSpec, pred: Any, values: Mapping[str, Tensor]) -> Any:
    """The prediction with other values of its quantities."""
    return join_components(values, pred.shape) if spec.assign is None else spec.assign(pred, values)
