from __future__ import annotations

import sys

import torch
from pictures import blurred, brighter, noisy, pictures

from synthreal.metrics.distances import COUNT, realism
from synthreal.metrics.features import random_features
from synthreal.metrics.mmd import kid
from synthreal.metrics.spectrum import spectrum_distance

SIZE = (35, 55)


def test_changes_exceed_the_distance_between_samples_of_one_source():
    real = pictures(150, 0, SIZE)
    chance = realism(pictures(150, 1, SIZE), real, seed=0)
    assert set(chance) == {"kid", "sliced_wasserstein", "spectrum"}
    for change in (noisy, blurred):
        far = realism(change(pictures(150, 1, SIZE)), real, seed=0)
        assert far["kid"] > 50 * abs(chance["kid"]) and far["spectrum"] > 10 * chance["spectrum"]
        assert far["sliced_wasserstein"] > chance["sliced_wasserstein"]
    bright = realism(brighter(pictures(150, 1, SIZE)), real, seed=0)
    assert bright["kid"] > 5 * abs(chance["kid"])


def test_numbers_are_those_of_the_metrics():
    a, b = noisy(pictures(40, 0)), pictures(30, 1)
    found = realism(a, b, seed=3)
    assert found["kid"] == float(kid(random_features(a, seed=3), random_features(b, seed=3)))
    assert found["spectrum"] == float(spectrum_distance(a, b))


def test_the_seed_matters_and_the_first_500_images_are_used():
    a, b = noisy(pictures(COUNT + 20, 0, (9, 8))), pictures(COUNT, 1, (9, 8))
    found = realism(a, b, seed=0)
    assert found == realism(a[:COUNT], b, seed=0)
    other = realism(a, b, seed=1)
    assert found["kid"] != other["kid"] and found["sliced_wasserstein"] != other["sliced_wasserstein"]


def test_fewer_large_images_are_used(monkeypatch):
    a, b = noisy(pictures(30, 0)), pictures(30, 1)
    monkeypatch.setattr(sys.modules["synthreal.metrics.distances"], "PX", 20 * 24 * 12)
    assert realism(a, b, seed=0) == realism(a[:12], b[:12], seed=0)


def test_sizes_from_eight_px_on():
    for size, channels in [((8, 8), 4), ((12, 16), 1), ((64, 64), 3)]:
        found = realism(pictures(5, 0, size, channels), pictures(4, 1, size, channels), seed=0)
        assert all(torch.isfinite(torch.tensor(value)) for value in found.values())
