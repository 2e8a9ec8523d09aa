"""Significance: exact binomial tests, rank correlation, and the comparison of models on the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from synthreal.results.schema import Against

RESAMPLES = 2000
SEED = 0


def binomial_p(correct: int, total: int) -> float:
    """Probability of at least ``correct`` of ``total`` right answers by guessing (exact, one-sided).

    The paper's study (SimGAN, section 3, Table 1): 517 of 1000 gives 0.148, 162 of 200 gives 9.9e-20.
    """
    from scipy import stats

    return float(stats.binomtest(correct, total, 0.5, alternative="greater").pvalue)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation in [-1, 1]; 0 if one of the sequences is constant."""
    from scipy import stats

    if len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)


def compare_errors(model: Tensor, other: Tensor, *, runs: Sequence[int] | None = None) -> Against:
    """Compare the errors ``(S, N)`` of two models: S trainings of each, on the same N images.

    The 95 % interval is a bootstrap over images and trainings with 2,000 resamples (with one training, over images
    alone). ``runs`` gives the run of each training: trainings of one run share its refiner, so runs are resampled, then
    trainings within runs; None is a single run. With two or three runs the interval is too narrow.

    The p-value is Wilcoxon's signed-rank test, two-sided, over images, with errors averaged over the trainings. It
    concerns these trained models on such images, not other trainings.
    """
    from scipy import stats

    ours, theirs = (np.asarray(errors.double().numpy()) for errors in (model, other))
    trainings, images = ours.shape
    of_run = np.zeros(trainings) if runs is None else np.asarray(runs)
    groups = [np.flatnonzero(of_run == run) for run in np.unique(of_run)]
    generator = np.random.default_rng(SEED)
    differences = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = generator.integers(images, size=images)
        rows, other_rows = (_resample(groups, generator) for _ in range(2))
        differences[i] = ours[rows][:, drawn].mean() - theirs[other_rows][:, drawn].mean()
    low, high = np.quantile(differences, (0.025, 0.975))
    paired = ours.mean(0) - theirs.mean(0)
    p = float(stats.wilcoxon(paired).pvalue) if np.any(paired) else 1.0
    return Against(difference=float(paired.mean()), interval=(float(low), float(high)), p=p)


def _resample(groups: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Draw as many groups as there are, with replacement, and from each as many members as it has."""
    chosen = generator.integers(len(groups), size=len(groups))
    return np.concatenate([groups[i][generator.integers(len(groups[i]), size=len(groups[i]))] for i in chosen])
