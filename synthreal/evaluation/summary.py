"""What trained estimators did on the test images, summed up arm by arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synthreal.metrics.significance import compare_errors
from synthreal.spec import EvaluatorSpec


@dataclass(frozen=True)
class EstimatorResult:
    """One trained estimator's metrics on every test image: name -> ``(N,)`` or ``(N, K)``, and the seeds behind it."""

    arm: str
    refiner_seed: int
    estimator_seed: int
    metrics: dict[str, Tensor]


def summarize_arm(
    spec: EvaluatorSpec, found: Sequence[EstimatorResult], base: Sequence[EstimatorResult] | None
) -> dict[str, Any]:
    """An arm of evaluation.json.

    Args:
        spec: the task.
        found: the arm's outcomes.
        base: those of the arm ``simulated``; None for that arm itself.

    Returns:
        For each metric the mean and deviation over seeds of its mean over images and answers; ``curve``, the
        cumulative error curve, where the task has one; ``against_simulated``, None for that arm itself.
    """
    result: dict[str, Any] = {}
    for name in found[0].metrics:
        values = torch.tensor([float(outcome.metrics[name].mean()) for outcome in found], dtype=torch.float64)
        result[name] = {
            "mean": float(values.mean()),
            "std": float(values.std()) if len(values) > 1 else None,
            "seeds": [
                {"refiner_seed": outcome.refiner_seed, "estimator_seed": outcome.estimator_seed, "value": float(value)}
                for outcome, value in zip(found, values, strict=True)
            ],
        }
    if spec.curve is not None:
        name, thresholds = spec.curve
        errors = torch.cat([outcome.metrics[name] for outcome in found])
        result["curve"] = {
            "metric": name,
            "threshold": list(thresholds),
            "percent": [100 * float((errors <= threshold).float().mean()) for threshold in thresholds],
            "unit": name.rpartition("_")[2],
        }
    result["against_simulated"] = None if base is None else _against(spec, found, base)
    return result


def _against(spec: EvaluatorSpec, found: Sequence[EstimatorResult], base: Sequence[EstimatorResult]) -> dict[str, Any]:
    """The primary metric against the estimators trained on simulated images: difference, 95 % interval, p."""
    mine, theirs = (
        torch.stack(
            [outcome.metrics[spec.primary].reshape(len(outcome.metrics[spec.primary]), -1).mean(1) for outcome in side]
        )
        for side in (found, base)
    )
    comparison = compare_errors(mine, theirs, runs=[outcome.refiner_seed for outcome in found])
    return {"difference": comparison.difference, "interval": list(comparison.interval), "p": comparison.p}
