"""Labels by component, and back."""

from __future__ import annotations

import pytest
import torch

from synthreal.data.quantities import join_components, split_components
from synthreal.spec import LabelSpec


@pytest.mark.parametrize(
    ("shape", "unit", "names", "places"),
    [
        ((), "mm", ["size (mm)"], ()),
        ((1,), "mm, of the hole", ["size[0] (mm)"], ()),
        ((3,), "", ["size[0]", "size[1]", "size[2]"], ()),
        ((4, 2), "px, x and y", ["size[0] (px)", "size[1] (px)"], (4,)),
        ((4, 7), "m", ["size (m)"], (4, 7)),
    ],
)
def test_components_of_the_last_axis_have_a_name_and_unit_each_unless_there_are_many(shape, unit, names, places):
    values = torch.rand(5, *shape)
    found = split_components(LabelSpec("size", shape, unit), values)
    assert list(found) == names and all(each.shape == (5, *places) for each in found.values())
    assert torch.equal(join_components(found, values.shape), values)
