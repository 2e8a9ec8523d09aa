"""Conversion of image values to [0, 1] and back."""

from __future__ import annotations

import itertools

import pytest
import torch

from synthreal.data.encoding import to_unit
from synthreal.errors import UserError
from synthreal.inference.value_range import ValueRange, check_probability


def test_uint8_ranges_from_0_to_255_whatever_the_declared_range():
    levels = torch.arange(256, dtype=torch.uint8)
    for scale in (ValueRange(), ValueRange(-1, 1)):
        assert torch.equal(scale.unit(levels), to_unit(levels))
        assert torch.equal(scale.restore(scale.unit(levels), torch.uint8), levels)


def test_restore_inverts_unit():
    dtypes, ranges = (torch.float32, torch.float64, torch.bfloat16), ((0, 1), (-1, 1), (0, 255), (-3.5, 2))
    for dtype, (low, high) in itertools.product(dtypes, ranges):
        scale = ValueRange(low, high)
        x = torch.linspace(low, high, 1001).to(dtype)
        unit = scale.unit(x)
        assert unit.dtype == torch.float32 and unit.min() == 0 and unit.max() == 1
        restored = scale.restore(unit, dtype)
        assert restored.dtype == dtype
        torch.testing.assert_close(restored, x, rtol=0, atol=1e-6 * (high - low))


def test_float_levels_of_0_to_255_equal_the_stored_levels_exactly(device):
    """Background pixels are compared for equality."""
    levels = torch.arange(256, device=device)
    assert torch.equal(ValueRange(0, 255).unit(levels.float()), to_unit(levels.to(torch.uint8)))


def test_values_far_outside_the_range_are_refused_and_overshoot_is_accepted():
    ValueRange(-1, 1).refuse(ValueRange(-1, 1).unit(torch.tensor([-1.9, 1.9])))
    ValueRange().refuse(torch.empty(0))
    for values in ([0.0, 1.6], [-0.6, 1.0], [0.5, torch.inf]):
        with pytest.raises(UserError, match=r"not in \[0, 1\].*range="):
            ValueRange().refuse(torch.tensor(values))
    with pytest.raises(UserError, match="NaN"):
        ValueRange().refuse(torch.tensor([0.5, torch.nan]))
    with pytest.raises(UserError, match="here: values from"):
        ValueRange().refuse(torch.tensor([9.0]), "here")
    with pytest.raises(UserError, match=r"from -1 to 3 .*\[-1, 1\]"):
        ValueRange(-1, 1).refuse(ValueRange(-1, 1).unit(torch.tensor([-1.0, 3.0])))


def test_a_range_is_two_finite_numbers_in_ascending_order():
    for low, high in ((1, 1), (1, 0), (0, float("inf")), (float("nan"), 1)):
        with pytest.raises(UserError, match=rf"range is \({low}, {high}\)"):
            ValueRange.of((low, high))


def test_a_probability_is_a_number_from_0_to_1():
    for p in (-0.1, 1.1, float("nan"), "0.5", None):
        with pytest.raises(UserError, match=f"p={p!r}"):
            check_probability(p)
    assert check_probability(0.0) == 0 and check_probability(1.0) == 1
