"""Noise as a function of seed, index and pixel: against plain integers, and as a sample of a normal distribution."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from synthreal.core.noise import indexed_noise

WORD = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def mixed(word):
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


@pytest.mark.parametrize(("index", "seed"), [(0, 0), (2**40 + 3, 2**32 - 1)])
def test_it_is_splitmix_and_box_muller_in_plain_integers(index, seed, device):
    start = mixed(mixed(seed) + index * GAMMA & WORD)
    words = [mixed(start + place * GAMMA & WORD) for place in range(1, 13)]
    expected = [
        math.sqrt(-2 * math.log(((word >> 40) + 1) / 2**24)) * math.cos(2 * math.pi * (word % 2**24) / 2**24)
        for word in words
    ]
    noise = indexed_noise(torch.tensor([index], device=device), (2, 2, 3), seed)
    torch.testing.assert_close(noise.cpu().flatten(), torch.tensor(expected), atol=1e-4, rtol=1e-5)


def test_an_image_s_noise_does_not_depend_on_its_batch(device):
    shape = (1, 5, 7)
    whole = indexed_noise(torch.arange(10, device=device), shape, 3)
    alone = indexed_noise(torch.tensor([8], device=device), shape, 3)
    shuffled = indexed_noise(torch.tensor([9, 8, 2], device=device), shape, 3)
    assert torch.equal(whole[8:9], alone)
    assert torch.equal(whole[[9, 8, 2]], shuffled)


def test_it_is_normal_and_uncorrelated(device):
    index = torch.arange(100, device=device)
    noise = torch.cat([indexed_noise(index, (2, 40, 50), seed) for seed in (0, 1)]).cpu()
    assert stats.kstest(noise.double().flatten()[:200_000].numpy(), "norm").pvalue > 0.01
    assert stats.kurtosis(noise.double().flatten().numpy()) == pytest.approx(0, abs=0.03)
    images = torch.corrcoef(noise.flatten(1)) - torch.eye(200)
    assert images.abs().max() < 5.5 / 4000**0.5  # the largest of 19,900 correlations of independent images
    maps = torch.corrcoef(noise.transpose(0, 1).flatten(1))[0, 1]
    assert maps.abs() < 4 / 400_000**0.5
    for shifted in (noise[..., 1:] * noise[..., :-1], noise[..., 1:, :] * noise[..., :-1, :]):
        assert shifted.mean().abs() < 4 / 800_000**0.5
