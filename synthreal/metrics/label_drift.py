"""How far does refining move what an estimator reads? Per image, in the estimator's own units.

The estimator is trained on simulated images alone, answers on x and on R(x), and the two answers are compared by the
evaluator's own metrics, in degrees, px or mm. SimGAN 3.1 ("preserving annotations") does so with a pupil detector, here
:mod:`synthreal.metrics.landmark_shift`; an estimator reads the label itself, where no detector exists too.

It reads an upper bound: an estimator also errs on R(x) because such images are new to it. What a mere change of tone
makes it err is read by giving histogram-matched images in place of R(x), in which nothing moved. On a run of the recipe
``gaze`` that bound is far from tight: R(x) reads 6.9 deg, histogram-matched eyes 7.7 and x moved by 1 px 1.8, while the
pupil detector finds R(x) moved by 0.2 px. So read it beside these.
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
    """Every metric of every image, name -> ``(N,)`` on the CPU, the mean over the K answers of an image.

    Attributes:
        moved: the answer on R(x) measured against the answer on x: 0 where refining changed nothing. Its primary
            metric sorts the images into those that kept their label best and worst.
        before: the answer on x measured against the label: the estimator's own error.
        after: the answer on R(x) measured against the label.
    """

    moved: Mapping[str, Tensor]
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]


@torch.no_grad()
def annotation_drift(spec: EvaluatorSpec, model: nn.Module, simulated: Resident, refined: Resident) -> Drift:
    """Measure how far refining moved what ``model`` reads.

    Args:
        spec: the task; ``answer`` says how a prediction is read as labels.
        model: its estimator, trained on simulated images alone and, best,
            on others than these.
        simulated: the images x with their labels.
        refined: R(x), row by row.

    Raises:
        UserError: sets that do not belong together, labels the task requires are missing, or a prediction that is no
            label in a task without ``answer``.
    """
    if refined.image.shape != simulated.image.shape or not len(simulated):
        raise UserError(
            f"annotation_drift: given {list(simulated.image.shape)} and {list(refined.image.shape)}; "
            "give images and what became of each of them, at least one"
        )
    missing = [label.name for label in spec.requires if label.name not in simulated.labels]
    if missing:
        raise UserError(f"annotation_drift: the simulated images have no label {missing[0]!r}; give them with labels")
    model.eval()
    found: tuple[dict[str, list[Tensor]], ...] = ({}, {}, {})
    for rows in prediction_batches(simulated):
        x, y = simulated.select(rows), refined.select(rows)
        on_x, on_y = model(x.image), model(y.image)
        read = {**x.labels, **_answer(spec, on_x, x.labels)}
        for kept, pred, labels in zip(found, (on_y, on_x, on_y), (read, x.labels, x.labels), strict=True):
            for name, values in spec.metrics(pred, labels).items():
                kept.setdefault(name, []).append(values.float().reshape(len(rows), -1).mean(1).cpu())
    moved, before, after = ({name: torch.cat(values) for name, values in kept.items()} for kept in found)
    return Drift(moved, before, after)


@torch.no_grad()
def predicts_labels(spec: EvaluatorSpec, model: nn.Module, simulated: Resident) -> bool:
    """Whether what ``model`` predicts can be read as labels, so that :func:`annotation_drift` can be measured."""
    batch = simulated.select(torch.arange(1))
    return spec.answer is not None or _is_label(spec, model.eval()(batch.image), batch.labels)


def _is_label(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> bool:
    return isinstance(pred, Tensor) and pred.shape == labels[spec.requires[0].name].shape


def _answer(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The labels under which ``pred`` would be right."""
    if spec.answer is not None:
        return spec.answer(pred, labels)
    first = spec.requires[0].name
    if not _is_label(spec, pred, labels):
        shown = list(pred.shape) if isinstance(pred, Tensor) else f"a {type(pred).__name__}"
        raise UserError(
            f"evaluator {spec.name!r}: predicts {shown} for labels {first!r} {list(labels[first].shape)}; "
            "give the evaluator an answer, which reads a prediction as labels"
        )
    return {first: pred}
