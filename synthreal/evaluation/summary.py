"""Metrics of the trained estimators on the test images, summarised per arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal.metrics.significance import compare_errors
from synthreal.results.schema import Against, Arm, Curve, Metric, Seed
from synthreal.spec import EvaluatorSpec


@dataclass(frozen=True)
class EstimatorResult:
    """The metrics of one estimator on every test image: name -> ``(N,)`` or ``(N, K)``, and its seeds."""

    arm: str
    refiner_seed: int
    estimator_seed: int
    metrics: dict[str, Tensor]


def summarize_arm(
    spec: EvaluatorSpec, results: Sequence[EstimatorResult], base: Sequence[EstimatorResult] | None
) -> Arm:
    """Mean and deviation of every metric over seeds, the error curve, and the comparison with ``simulated``.

    ``base`` is the results of the arm ``simulated``, None for that arm itself.
    """
    return Arm(
        metrics={name: _metric(name, results) for name in results[0].metrics},
        curve=None if spec.curve is None else _curve(*spec.curve, results),
        against=None if base is None else _against(spec.primary, results, base),
    )


def _metric(name: str, results: Sequence[EstimatorResult]) -> Metric:
    values = torch.tensor([float(result.metrics[name].mean()) for result in results], dtype=torch.float64)
    seeds = [
        Seed(refiner_seed=result.refiner_seed, estimator_seed=result.estimator_seed, value=float(value))
        for result, value in zip(results, values, strict=True)
    ]
    return Metric(mean=float(values.mean()), std=float(values.std()) if len(values) > 1 else None, seeds=tuple(seeds))


def _curve(name: str, thresholds: tuple[float, ...], results: Sequence[EstimatorResult]) -> Curve:
    errors = torch.cat([result.metrics[name] for result in results])
    percent = [100 * float((errors <= threshold).float().mean()) for threshold in thresholds]
    return Curve(metric=name, threshold=thresholds, percent=tuple(percent), unit=name.rpartition("_")[2])


def _against(primary: str, results: Sequence[EstimatorResult], base: Sequence[EstimatorResult]) -> Against:
    errors, base_errors = (
        torch.stack([values.reshape(len(values), -1).mean(1) for values in (one.metrics[primary] for one in side)])
        for side in (results, base)
    )
    return compare_errors(errors, base_errors, runs=[result.refiner_seed for result in results])
