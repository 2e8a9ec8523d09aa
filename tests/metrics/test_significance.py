"""Binomial tests, intervals and paired tests against slow oracles and known results."""

from __future__ import annotations

import math

import pytest
import torch

from synthreal.metrics.significance import binomial_p, compare_errors, rank_correlation


def test_the_papers_p_values():
    for correct, total, p in [(517, 1000, 0.148), (162, 200, 9.9e-20), (0, 7, 1.0)]:
        found = binomial_p(correct, total)
        assert found == pytest.approx(p, rel=5e-3)
        exact = sum(math.comb(total, k) for k in range(correct, total + 1)) / 2**total
        assert found == pytest.approx(exact, rel=1e-9)


def errors(shift=0.0, trainings=3, images=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hardness = torch.rand(images, generator=torch.Generator().manual_seed(99))
    return 5 + 4 * hardness + shift + 0.5 * torch.randn(trainings, images, generator=generator)


def test_a_better_model_is_below_zero_with_its_interval_and_a_small_p():
    found = compare_errors(errors(-1.0), errors(seed=1))
    assert found.difference == pytest.approx(float((errors(-1.0) - errors(seed=1)).mean()), abs=1e-5)
    assert found.interval[0] < found.difference < found.interval[1] < 0 and found.p < 1e-6
    assert compare_errors(errors(1.0), errors(seed=1)).interval[0] > 0


def test_equal_models_do_not_differ_significantly():
    shares = [compare_errors(errors(seed=i), errors(seed=i + 50)) for i in range(20)]
    assert sum(found.interval[0] < 0 < found.interval[1] for found in shares) >= 17
    assert sum(found.p < 0.05 for found in shares) <= 4
    same = compare_errors(errors(), errors())
    assert (same.difference, same.p) == (0.0, 1.0)


def test_trainings_that_differ_widen_the_interval():
    """One of three trainings failed: a bootstrap over images alone would look certain."""
    steady, torn = errors(), errors()
    torn[0] += 3.0
    width = lambda found: found.interval[1] - found.interval[0]  # noqa: E731
    assert width(compare_errors(torn, errors(seed=1))) > 3 * width(compare_errors(steady, errors(seed=1)))


def test_trainings_of_one_run_are_resampled_together():
    """Three different refiners with three estimators each are not nine samples of a refiner."""
    generator = torch.Generator().manual_seed(0)
    refiner = torch.tensor([-0.8, 0.1, 0.7]).repeat_interleave(3)[:, None]
    mine, theirs = (5 + torch.randn(9, 300, generator=generator) / 4 for _ in range(2))
    width = lambda found: found.interval[1] - found.interval[0]  # noqa: E731
    apart, together = (
        compare_errors(mine + refiner, theirs, runs=runs) for runs in ([0, 0, 0, 1, 1, 1, 2, 2, 2], None)
    )
    assert width(apart) > 1.4 * width(together) and apart.p == together.p
    assert (apart.difference, compare_errors(mine, theirs, runs=[0] * 9)) == (
        together.difference,
        compare_errors(mine, theirs),
    )


def test_the_interval_repeats():
    assert compare_errors(errors(), errors(seed=1)) == compare_errors(errors(), errors(seed=1))


def test_rank_correlation_depends_on_order_alone():
    assert rank_correlation([1, 2, 30], [0.1, 5.0, 5.1]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 1, 1], [3, 2, 1]) == 0.0
