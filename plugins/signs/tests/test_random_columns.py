from __future__ import annotations

import pytest
import torch

from synthreal_signs.random_columns import RandomColumns


def test_columns_are_returned_in_order() -> None:
    columns = RandomColumns(torch.tensor([[0.0, 0.5], [0.25, 1.0]]))
    assert columns.uniform(10, 14).tolist() == [10, 11]
    assert columns.uniform(-1, 1).tolist() == [0, 1]
    with pytest.raises(IndexError):
        columns.uniform(0, 1)


def test_chance_and_index_have_their_probabilities() -> None:
    columns = RandomColumns.draw(20_000, 4, torch.Generator().manual_seed(0))
    assert columns.chance(0.3).mean() == pytest.approx(0.3, abs=0.02)
    assert columns.chance(0.0).sum() == 0
    assert columns.chance(1.0).mean() == 1
    assert columns.index(4).bincount().tolist() == pytest.approx([5000] * 4, rel=0.05)


def test_an_index_is_below_the_count_even_if_a_product_rounds_up() -> None:
    assert RandomColumns(torch.tensor([[1.0]])).index(8).tolist() == [7]
