"""Is a difference more than chance? Exact binomial tests, and two ways to compare models on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

RESAMPLES = 2000


def binomial_p(correct: int, total: int) -> float:
    """Probability of at least ``correct`` of ``total`` right answers by guessing (exact, one-sided).

    The paper's study (SimGAN, section 3, Table 1): 517 of 1000 gives 0.148, 162 of 200 gives 9.9e-20.
    """
    from scipy import stats

    return float(stats.binomtest(correct, total, 0.5, alternative="greater").pvalue)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation, -1 to 1; 0 where one of them does not vary."""
    from scipy import stats

    if len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)


@dataclass(frozen=True)
class Comparison:
    """A model against another: mean difference of the metric (below 0 is better), its interval, and p."""

    difference: float
    interval: tuple[float, float]
    p: float


def compare_errors(model: Tensor, other: Tensor, *, runs: Sequence[int] | None = None, seed: int = 0) -> Comparison:
    """Compare the errors of two models, ``(S, N)``: S trainings of each, on the same N images.

    The 95 % interval is a bootstrap's: images and trainings are drawn anew 2,000 times (with one training, images
    alone). ``runs`` names the run of each training: those of one run share its refiner, so runs are drawn, then
    trainings within them; None is one run. Two or three runs say little of others: the interval is then too narrow.

    The p-value is Wilcoxon's signed-rank test, two-sided, over images, each image's error averaged over the trainings:
    it says that these models differ on such images, not that other trainings would.
    """
    from scipy import stats

    mine, theirs = (np.asarray(errors.double().numpy()) for errors in (model, other))
    trainings, images = mine.shape
    of_run = np.zeros(trainings) if runs is None else np.asarray(runs)
    groups = [np.flatnonzero(of_run == run) for run in np.unique(of_run)]
    generator = np.random.default_rng(seed)
    differences = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = generator.integers(images, size=images)
        rows, others = (_drawn(groups, generator) for _ in range(2))
        differences[i] = mine[rows][:, drawn].mean() - theirs[others][:, drawn].mean()
    low, high = np.quantile(differences, (0.025, 0.975))
    paired = mine.mean(0) - theirs.mean(0)
    p = float(stats.wilcoxon(paired).pvalue) if np.any(paired) else 1.0
    return Comparison(float(paired.mean()), (float(low), float(high)), p)


def _drawn(groups: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """As many groups, with replacement, and of each as many of its members."""
    chosen = generator.integers(len(groups), size=len(groups))
    return np.concatenate([groups[i][generator.integers(len(groups[i]), size=len(groups[i]))] for i in chosen])
