"""Numbers as text: no negative zero, no p value of 0, no division by 0."""

from __future__ import annotations

import pytest

from synthreal.results.schema import Metric
from synthreal.results.tables import difference_text, mean_text, p_text


def test_p_values():
    texts = {0.148: "0.148", 0.001: "0.001", 9.9e-20: "9.9e-20", 1e-310: "< 1e-300", 0.0: "< 1e-300"}
    assert {p: p_text(p) for p in texts} == texts


def test_means():
    assert mean_text(Metric(mean=6.878, std=0.1249)) == "6.88 ± 0.12" and mean_text(Metric(mean=6.878)) == "6.88"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((-1.0, 4.0, (-1.5, -0.5)), "-25 % (-38 to -12)"),
        ((-0.002, 4.0, (-0.004, 0.2)), "+0 % (+0 to +5)"),
        ((1.0, 0.0, (-0.001, 1.5)), "+1.00 (+0.00 to +1.50)"),
    ],
)
def test_differences(numbers, text):
    assert difference_text(*numbers) == text
