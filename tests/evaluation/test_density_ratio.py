"""The ratio of two normal densities against the formula, and numbers that do not vary."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from synthreal.evaluation.density_ratio import DensityRatio


def normal(n, mean, deviation):
    generator = torch.Generator().manual_seed(n)
    return mean + deviation * torch.randn(n, 1, generator=generator)


def test_it_is_that_of_the_two_densities():
    given, wanted = normal(50_000, 3.0, 20.0), normal(50_001, 9.0, 5.0)
    values = torch.tensor([[0.0], [9.0], [15.0]])
    expected = (Normal(9.0, 5.0).log_prob(values) - Normal(3.0, 20.0).log_prob(values)).exp()[:, 0]
    assert DensityRatio.of(given, wanted)(values).tolist() == pytest.approx(expected.tolist(), rel=0.05)


def test_numbers_that_vary_together_are_one_number():
    """A pair that occurs in neither set alone is rare in both; the ratio at pairs that occur is that of one number."""
    given, wanted = normal(50_000, 0.0, 2.0), normal(50_001, 1.0, 1.0)
    pairs = DensityRatio.of(torch.cat([given, -3 * given], 1), torch.cat([wanted, -3 * wanted], 1))
    values = torch.tensor([[0.5], [2.0]])
    single = DensityRatio.of(given, wanted)(values)
    assert pairs(torch.cat([values, -3 * values], 1)).tolist() == pytest.approx(single.tolist(), rel=0.05)


def test_a_constant_number_does_no_harm():
    given, wanted = normal(50_000, 0.0, 2.0), normal(50_001, 1.0, 1.0)
    constant = torch.full((50_000, 1), 7.0)
    ratio = DensityRatio.of(torch.cat([given, constant], 1), torch.cat([wanted, torch.full((50_001, 1), 7.0)], 1))
    assert ratio(torch.tensor([[1.0, 7.0]])).item() == pytest.approx(2.0 * 1.13, rel=0.05)


def test_a_number_that_varies_in_one_set_alone_and_many_that_vary_together_are_fitted():
    given, wanted = normal(500, 0.0, 2.0), normal(501, 1.0, 1.0)
    constant = torch.full_like(given, 7.0)
    found = DensityRatio.of(torch.cat([given, constant], 1), torch.cat([wanted, wanted], 1))
    assert torch.isfinite(found(torch.tensor([[1.0, 7.0]]))).all()
    many = DensityRatio.of(given.expand(-1, 60), 30 * wanted.expand(-1, 60))
    assert torch.isfinite(many(given[:3].expand(-1, 60))).all()
