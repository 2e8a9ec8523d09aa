"""The bank of styles: equal to the styles themselves at one size, near them at another, and without pictures."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from synthreal.core.noise import indexed_choice
from synthreal.core.style_bank import LEVELS, StyleBank
from synthreal.core.styles import fda, histogram


def pictures(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    smooth = F.interpolate(torch.rand((*shape[:2], 6, 7), generator=generator), shape[2:], mode="bicubic").clamp(0, 1)
    low, gain = torch.rand(2, *shape[:2], 1, 1, generator=generator)
    return 0.4 * low + (0.2 + 0.4 * gain) * smooth


@pytest.mark.parametrize("shape", [(8, 1, 35, 55), (8, 3, 32, 32), (8, 3, 21, 16), (8, 1, 9, 9)])
def test_at_the_size_of_the_real_images_the_styles_are_those_of_the_images(shape):
    x, y, rows = pictures(*shape, seed=0), pictures(*shape, seed=1), torch.arange(8).flip(0)
    bank = StyleBank.of(y, beta=0.2)
    torch.testing.assert_close(bank.fda(x, rows), fda(x, y[rows], beta=0.2), atol=1e-5, rtol=0)
    matched = bank.histogram(x, rows, blend=0.7)
    torch.testing.assert_close(matched, histogram(x, y[rows], blend=0.7), atol=0.02, rtol=0)


def test_larger_images_take_the_same_styles():
    x, y, rows = pictures(8, 3, 64, 80, seed=0), pictures(8, 3, 32, 40, seed=1), torch.arange(8)
    bank, large = StyleBank.of(y, beta=0.2), F.interpolate(y, (64, 80), mode="bicubic").clamp(0, 1)
    torch.testing.assert_close(bank.fda(x, rows), fda(x, large, beta=0.1), atol=0.03, rtol=0)
    torch.testing.assert_close(bank.histogram(x, rows, blend=1), histogram(x, large, blend=1), atol=0.05, rtol=0)
    small = x[..., :9, :7]  # has fewer frequencies than the bank
    assert bank.fda(small, rows).shape == small.shape


def test_versions_are_unchanged_and_in_the_two_styles_in_turn():
    x, y, rows = pictures(4, 1, 16, 20, seed=0), pictures(4, 1, 16, 20, seed=1), torch.tensor([3, 1, 0, 1])
    bank = StyleBank.of(y, beta=0.2)
    first = [bank.adapt(x, rows, version, blend=0.5) for version in range(5)]
    assert torch.equal(first[0], x)
    assert torch.equal(first[1], bank.fda(x, rows)) and torch.equal(first[3], first[1])
    assert torch.equal(first[2], bank.histogram(x, rows, blend=0.5)) and torch.equal(first[4], first[2])


def test_the_bank_is_smaller_than_the_pictures_and_has_no_phases():
    y = pictures(8, 3, 64, 80, seed=1)
    bank = StyleBank.of(y, beta=0.1)
    assert bank.levels.shape == (8, 3, LEVELS) and bank.amplitudes.shape == (8, 3, 15, 8)
    mirrored = StyleBank.of(y.flip(-1), beta=0.1)
    torch.testing.assert_close(mirrored.amplitudes, bank.amplitudes.flip(-2))
    assert torch.equal(mirrored.levels, bank.levels)


def test_the_choice_of_a_real_image_depends_on_seed_and_index_alone():
    index = torch.arange(4000)
    chosen = indexed_choice(index, 128, 5)
    assert torch.equal(chosen[100:103], indexed_choice(torch.tensor([100, 101, 102]), 128, 5))
    assert not torch.equal(chosen, indexed_choice(index, 128, 6))
    counts = chosen.bincount(minlength=128)
    assert len(counts) == 128 and 10 < counts.min() and counts.max() < 60


@pytest.mark.parametrize("size", [(8, 20), (7, 20), (2, 3)])
def test_small_images_take_each_frequency_once(size):
    x, y, rows = pictures(8, 1, *size, seed=0), pictures(8, 1, *size, seed=1), torch.arange(8)
    bank = StyleBank.of(y, beta=0.5)
    assert torch.equal(bank.fda(x, rows), bank.fda(x, rows))
    reach = min(size) // 2 - 1
    torch.testing.assert_close(bank.fda(x, rows), fda(x, y, beta=reach / min(size)), atol=1e-5, rtol=0)
