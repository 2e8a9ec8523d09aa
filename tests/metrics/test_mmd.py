from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from synthreal.errors import UserError
from synthreal.metrics.mmd import kid


def normal(n: int, seed: int, d: int = 6, mean: float = 0.0, scale: float = 1.0) -> Tensor:
    return mean + scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def slow(a: Tensor, b: Tensor) -> float:
    """Gretton's equation 3, pair by pair."""
    x, y = a.double().numpy(), b.double().numpy()

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(k(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return within_x + within_y - 2 * between


def test_kid_equals_the_double_loop():
    for n, m in [(2, 2), (9, 13)]:
        a, b = normal(n, 0), normal(m, 1, mean=0.4)
        assert float(kid(a, b)) == pytest.approx(slow(a, b), rel=1e-10)


def test_parts_of_large_sets_add_up(monkeypatch):
    a, b = normal(50, 0), normal(41, 1)
    whole = float(kid(a, b))
    monkeypatch.setattr(sys.modules["synthreal.metrics.mmd"], "PART_ROWS", 7)
    assert float(kid(a, b)) == pytest.approx(whole, rel=1e-9)


def test_it_is_unbiased_and_may_be_negative():
    draws = torch.stack([kid(normal(12, 2 * seed), normal(15, 2 * seed + 1)) for seed in range(600)])
    error = draws.std() / len(draws) ** 0.5
    assert draws.mean().abs() < 2.5 * error
    assert (draws < 0).float().mean() > 0.3
    assert error < 0.05 * draws.std()


def test_it_detects_changes_of_mean_spread_and_skew():
    a = normal(800, 0)
    null = torch.stack([kid(a, normal(800, seed)) for seed in range(1, 9)]).abs().max()
    skew = (normal(800, 20).square() - 1) / 2**0.5
    for other in (normal(800, 9, mean=0.3), normal(800, 10, scale=1.3), skew):
        assert kid(a, other) > 3 * null
    near, far = (kid(a, normal(800, 9, mean=mean)) for mean in (0.3, 0.6))
    assert far > 2 * near


def test_the_value_for_known_moments():
    """Two points c apart from a constant: E k(x, x') + E k(y, y') - 2 E k(x, y) with all expectations exact."""
    a, b = torch.zeros(5, 3), torch.full((4, 3), 2.0)
    assert float(kid(a, b)) == pytest.approx(1 + (4 + 1) ** 3 - 2)


def test_invalid_features_are_an_error():
    for a, b in [
        (normal(1, 0), normal(5, 0)),
        (normal(5, 0), normal(1, 0)),
        (normal(5, 0), normal(5, 0, d=7)),
        (torch.rand(5, 1, 2, 3), torch.rand(5, 1, 2, 3)),
    ]:
        with pytest.raises(UserError, match=r"kid: given \[.* at least 2 each"):
            kid(a, b)
