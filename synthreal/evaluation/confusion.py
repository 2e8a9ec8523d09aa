"""Which classes an estimator confuses: its answers to the test images of each true class."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from synthreal.data.resident import Resident, prediction_batches
from synthreal.results.schema import Confusion
from synthreal.spec import EvaluatorSpec

MOST = 100  # classes of which all counts are kept; they grow with the square


@torch.no_grad()
def true_and_answered(spec: EvaluatorSpec, model: nn.Module, test: Resident) -> Tensor | None:
    """The true class of each test image and the answer of an estimator, ``(2, N)`` int64 on the CPU.

    Returns:
        None unless the first label that the evaluator requires is a class: an integer ``()`` that its ``answer`` gives
        as an integer.
    """
    name = spec.requires[0].name
    labels = test.labels[name]
    if spec.answer is None or labels.ndim != 1 or labels.is_floating_point():
        return None
    model.eval()
    pairs = []
    for rows in prediction_batches(test):
        batch = test.select(rows)
        answer = spec.answer(model(batch.image), batch.labels).get(name)
        if answer is None or answer.is_floating_point():
            return None
        pairs.append(torch.stack((batch.labels[name].long(), answer.long())).cpu())
    return torch.cat(pairs, dim=1)


def count_confusions(results: Iterable[tuple[str, Tensor | None]]) -> dict[str, Confusion]:
    """Count over the estimators of each arm, given as pairs of arm and :func:`true_and_answered`.

    Arms without answers are left out, and all arms if the classes are not from 0 to 99.
    """
    by_arm: dict[str, list[Tensor]] = {}
    for arm, pairs in results:
        if pairs is not None:
            by_arm.setdefault(arm, []).append(pairs)
    joined = {arm: torch.cat(pairs, dim=1) for arm, pairs in by_arm.items()}
    if not joined:
        return {}
    low, high = torch.cat(list(joined.values()), dim=1).aminmax()
    if low < 0 or high >= MOST:
        return {}
    size = int(high) + 1
    return {arm: Confusion(counts=_counts(pairs, size)) for arm, pairs in joined.items()}


def _counts(pairs: Tensor, size: int) -> tuple[tuple[int, ...], ...]:
    true, answered = pairs
    counts = (size * true + answered).bincount(minlength=size**2).view(size, size)
    return tuple(map(tuple, counts.tolist()))
