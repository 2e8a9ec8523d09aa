"""Numbers in words: nothing is minus nothing, no probability is 0, nothing is divided by 0."""

from __future__ import annotations

import pytest

from synthreal.results import format as wording


@pytest.mark.parametrize(
    ("p", "text"), [(0.148, "0.148"), (0.001, "0.001"), (9.9e-20, "9.9e-20"), (1e-310, "< 1e-300"), (0.0, "< 1e-300")]
)
def test_a_probability(p, text):
    assert wording.p_text(p) == text
    assert wording.equals_p(p) == (f"p {text}" if text.startswith("<") else f"p = {text}")


def test_a_mean():
    assert wording.mean_text(6.878, 0.1249) == "6.88 ± 0.12" and wording.mean_text(6.878, None) == "6.88"


def test_a_difference_in_per_cent():
    assert wording.percent_text(-0.5, 4.0) == "-12 %"
    assert wording.percent_text(-1.0, 4.0, (-1.5, -0.5)) == "-25 % (-38 to -12)"
    assert wording.percent_text(-0.002, 4.0, (-0.004, 0.2)) == "+0 % (+0 to +5)"
    assert wording.percent_text(1.0, 0.0, (0.5, 1.5)) == wording.percent_text(1.0, 0.0) == ""


def test_why_an_interval_and_a_p_can_disagree_is_said():
    one, several = (wording.compared_text(more) for more in (False, True))
    assert "trainings" not in one and "over images and trainings" in several
    assert all("mean difference" in text and "ranks images, so the two can disagree" in text for text in (one, several))
