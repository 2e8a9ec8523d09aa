"""Ranges of labels, and numbers in JSON."""

from __future__ import annotations

import numpy as np
import pytest

from synthreal.check.labels import LabelRanges, numeric_fields


def ranges(*blocks, units=None):
    found = LabelRanges(units)
    for block in blocks:
        found.add("a", np.asarray(block))
    return found.found["a"]


def test_a_range_is_that_of_all_blocks():
    label = ranges([[1.0, 5.0]], [[0.5, 2.0], [3.0, -4.0]], units={"a": "px"})
    assert (label.images, label.shape, label.unit, label.low, label.high) == (3, (2,), "px", -4, 5)
    assert (label.constant, label.not_finite) == (False, 0)


@pytest.mark.parametrize(
    ("blocks", "constant"),
    [
        ([[[1, 2]]], False),
        ([[[1, 2], [1, 2]]], True),
        ([[[1, 2]], [[1, 2]], [[1, 2]]], True),
        ([[[1, 2]], [[1, 3]], [[1, 2]]], False),
        ([[[1, 2], [1, 3]], [[1, 2]]], False),
        ([[[1, 2]], [[1, 2, 3]]], False),
    ],
)
def test_a_label_is_constant_if_several_images_have_one_value(blocks, constant):
    assert ranges(*blocks).constant is constant


def test_other_shapes_and_values_that_are_not_finite():
    assert ranges([[1, 2]], [[1, 2, 3]]).shape is None
    label = ranges([[1.0, np.nan], [2.0, 3.0]], [[np.inf, -np.inf]])
    assert (label.not_finite, label.low, label.high) == (2, 1, 3)
    assert (ranges([np.nan]).low, ranges([np.nan]).high) == (None, None)


def test_numbers_of_a_json_object():
    content = b"""{"gaze": [0.5, -1], "pose": {"roll": 3, "of": {"head": [[1, 2], [3, 4]]}}, "name": "x", "ok": true,
        "none": null, "empty": [], "boxes": [{"x": 1}], "uneven": [[1], [2, 3]], "texts": ["1", "2"], "nan": NaN}"""
    fields = numeric_fields(content)
    assert sorted(fields) == ["gaze", "nan", "pose.of.head", "pose.roll"]
    assert fields["gaze"].tolist() == [0.5, -1] and fields["pose.of.head"].shape == (2, 2)
    assert numeric_fields(b"[1, 2]") == numeric_fields(b"7") == {}


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\xfd", b"[" * 100_000, b'{"a":' * 100_000], ids=range(4))
def test_what_is_not_json_is_a_value_error(content):
    with pytest.raises(ValueError):
        numeric_fields(content)
