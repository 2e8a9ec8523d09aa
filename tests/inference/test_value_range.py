"""Values of images: into [0, 1] and back."""

from __future__ import annotations

import pytest
import torch

from synthreal.data.encoding import to_unit
from synthreal.errors import UserError
from synthreal.inference.value_range import ValueRange, check_probability


def test_uint8_is_0_to_255_in_every_range():
    levels = torch.arange(256, dtype=torch.uint8)
    for scale in (ValueRange(), ValueRange(-1, 1)):
        assert torch.equal(scale.unit(levels), to_unit(levels))
        assert torch.equal(scale.restore(scale.unit(levels), torch.uint8), levels)


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (0, 255), (-3.5, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_there_and_back(low, high, dtype):
    scale = ValueRange(low, high)
    x = torch.linspace(low, high, 1001).to(dtype)
    unit = scale.unit(x)
    assert unit.dtype == torch.float32 and unit.min() == 0 and unit.max() == 1
    back = scale.restore(unit, dtype)
    assert back.dtype == dtype
    torch.testing.assert_close(back, x, rtol=0, atol=1e-6 * (high - low))


def test_levels_of_0_to_255_meet_the_stored_ones_exactly(device):
    """Pixels that a refiner keeps are compared for equality."""
    levels = torch.arange(256, device=device)
    assert torch.equal(ValueRange(0, 255).unit(levels.float()), to_unit(levels.to(torch.uint8)))


def test_what_is_far_outside_is_refused_and_overshoot_is_not():
    ValueRange(-1, 1).refuse(ValueRange(-1, 1).unit(torch.tensor([-1.9, 1.9])))
    ValueRange().refuse(torch.empty(0))
    for values in ([0.0, 1.6], [-0.6, 1.0], [0.5, torch.inf]):
        with pytest.raises(UserError, match=r"are no image in \[0, 1\]; .*with range=\(least"):
            ValueRange().refuse(torch.tensor(values))
    with pytest.raises(UserError, match="there are NaN among the values"):
        ValueRange().refuse(torch.tensor([0.5, torch.nan]))
    with pytest.raises(UserError, match=r"values from -1 to 3 are no image in \[-1, 1\]"):
        ValueRange(-1, 1).refuse(ValueRange(-1, 1).unit(torch.tensor([-1.0, 3.0])))


@pytest.mark.parametrize("low, high", [(1, 1), (1, 0), (0, float("inf")), (float("nan"), 1)])
def test_a_range_is_two_finite_numbers_in_order(low, high):
    with pytest.raises(UserError, match="give the least and the greatest value"):
        ValueRange(low, high)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), "0.5", None])
def test_a_probability_is_one(p):
    with pytest.raises(UserError, match=r"a probability is in \[0, 1\]"):
        check_probability(p)
    assert check_probability(0.0) == 0 and check_probability(1.0) == 1
