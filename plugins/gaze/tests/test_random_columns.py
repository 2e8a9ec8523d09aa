from __future__ import annotations

import pytest
import torch

from synthreal_gaze.random_columns import RandomColumns


def test_columns_are_dealt_in_order_and_shaped_for_pixels():
    dice = RandomColumns(torch.tensor([[0.0, 0.5], [0.25, 1.0]]))
    assert dice.uniform(10, 14).tolist() == [[[10.0]], [[11.0]]]
    assert dice.uniform(-1, 1).tolist() == [[[0.0]], [[1.0]]]
    with pytest.raises(IndexError):
        dice.uniform(0, 1)


def test_a_normal_has_its_mean_and_spread_and_no_tail():
    value = RandomColumns.roll(20_000, 1, torch.Generator().manual_seed(0)).normal(3.0, 2.0)
    assert value.mean() == pytest.approx(3, abs=0.05)
    assert value.std() == pytest.approx(1.93, abs=0.05)  # 2 less the tails beyond 2.5 deviations
    assert (value - 3).abs().max() <= 5.001


def test_a_chance_comes_true_as_often_as_it_says():
    dice = RandomColumns.roll(20_000, 3, torch.Generator().manual_seed(0))
    assert dice.chance(0.3).mean() == pytest.approx(0.3, abs=0.02)
    assert dice.chance(0.0).sum() == 0
    assert dice.chance(1.0).mean() == 1
