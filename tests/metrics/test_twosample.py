from __future__ import annotations

import math

import pytest
import torch
from pictures import CHANGES, noisy, pictures

from synthreal.metrics.twosample import LEAST, two_sample_test


def test_samples_of_one_distribution_are_not_separated():
    sets = [(pictures(80, 2 * seed), pictures(80, 2 * seed + 1)) for seed in range(5)]
    found = [two_sample_test(a, b, seed=seed, steps=60) for seed, (a, b) in enumerate(sets)]
    assert all(result.total == 80 for result in found)
    assert min(result.p for result in found) > 0.01
    assert abs(sum(result.accuracy for result in found) / 5 - 0.5) < 3 * 0.5 / math.sqrt(400)


def test_a_change_is_detected():
    for change in CHANGES:
        result = two_sample_test(pictures(120, 0), CHANGES[change](pictures(120, 1)), seed=0, steps=80)
        assert result.accuracy > 0.85
        assert result.p < 1e-9


def test_the_p_value_is_the_binomial_tail():
    result = two_sample_test(pictures(60, 0), noisy(pictures(60, 1), 0.03), seed=0, steps=40)
    ways = sum(math.comb(result.total, k) for k in range(result.correct, result.total + 1))
    assert result.p == pytest.approx(ways / 2**result.total, rel=1e-9)
    assert result.accuracy == result.correct / result.total
    assert 0 < result.correct < result.total


def test_the_larger_set_is_cut_and_the_halves_are_balanced():
    assert two_sample_test(pictures(90, 0), pictures(33, 1), seed=0, steps=1).total == 2 * 17
    assert two_sample_test(pictures(LEAST, 0), pictures(500, 1), seed=0, steps=1).total == LEAST


def test_an_image_and_its_refined_version_are_never_on_both_sides():
    """If x were in training and R(x) in the test, a classifier that memorised x would do worse than guess."""
    x = pictures(40, 0)
    assert two_sample_test(x, x.clone(), seed=0, steps=60).accuracy == 0.5


def test_the_result_depends_on_seed_and_steps_alone():
    a, b = pictures(60, 0), noisy(pictures(60, 1), 0.04)
    one, same, other, shorter = (
        two_sample_test(a, b, seed=seed, steps=steps) for seed, steps in ((0, 60), (0, 60), (1, 60), (0, 3))
    )
    assert one == same
    assert other.correct != one.correct
    assert shorter.accuracy < one.accuracy


@pytest.mark.parametrize(("size", "channels"), [((12, 16), 4), ((224, 224), 1)])
def test_any_size_and_number_of_channels(size, channels):
    a, b = (pictures(LEAST, seed, size, channels) for seed in (0, 1))
    state = torch.get_rng_state()
    result = two_sample_test(a, b, seed=0, steps=1)
    assert result.total == LEAST
    assert torch.equal(torch.get_rng_state(), state), "the global random state does not change"


def test_the_result_does_not_depend_on_the_parts(monkeypatch):
    a, b = pictures(60, 0), noisy(pictures(60, 1), 0.04)
    whole = two_sample_test(a, b, seed=0, steps=60)
    assert whole.correct not in (30, 60)
    monkeypatch.setattr("synthreal.metrics.inputs.PART_VALUES", 16 * 20 * 24 * 7)
    assert two_sample_test(a, b, seed=0, steps=60) == whole


def test_it_trains_under_no_grad():
    a, b = pictures(60, 0), CHANGES["brightness"](pictures(60, 1))
    with torch.no_grad():
        assert two_sample_test(a, b, seed=0, steps=60).accuracy > 0.8
