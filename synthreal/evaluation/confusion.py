"""Which classes an estimator confuses: its answers to the test images of each true class."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from synthreal.data.resident import Resident, prediction_batches
from synthreal.results.schema import Confusion
from synthreal.spec import EvaluatorSpec


@torch.no_grad()
def confusion(spec: EvaluatorSpec, model: nn.Module, test: Resident) -> Tensor | None:
    """Numbers of test images by true class (rows) and answer (columns), ``(K, K)`` int64 on the CPU.

    Returns:
        None unless the first label that the evaluator requires is a class: an integer ``()`` that its ``answer`` gives.
    """
    name = spec.requires[0].name
    labels = test.labels[name]
    if spec.answer is None or labels.ndim != 1 or labels.is_floating_point():
        return None
    model.eval()
    pairs = []
    for rows in prediction_batches(test):
        batch = test.select(rows)
        answer = spec.answer(model(batch.image), batch.labels)
        if name not in answer:
            return None
        pairs.append(torch.stack((batch.labels[name], answer[name])).cpu())
    true, found = torch.cat(pairs, dim=1)
    count = 1 + int(torch.maximum(true, found).max())
    counts: Tensor = (true * count + found).bincount(minlength=count**2).view(count, count)
    return counts


def summarize_confusion(results: Iterable[tuple[str, Tensor | None]]) -> dict[str, Confusion]:
    """The sums over the estimators of each arm, given as pairs of arm and counts; arms without counts are left out."""
    sums: dict[str, Tensor] = {}
    for arm, counts in results:
        if counts is not None:
            total = sums.get(arm, torch.zeros_like(counts))
            size = max(len(total), len(counts))
            total, counts = (pad(part, (0, size - len(part)) * 2) for part in (total, counts))
            sums[arm] = total + counts
    return {arm: Confusion(counts=tuple(map(tuple, counts.tolist()))) for arm, counts in sums.items()}
