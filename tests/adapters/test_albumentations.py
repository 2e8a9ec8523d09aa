"""The library's domain adaptation does what its papers say, on tensors, with one channel or several."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from synthreal.adapters.albumentations import fda, histogram, pixel_distribution
from synthreal.errors import UserError


def pair(channels=1, count=3, height=10, width=14):
    rng = np.random.default_rng(0)
    simulated = rng.uniform(0.1, 0.6, (count, channels, height, width)).astype(np.float32)
    real = rng.uniform(0.4, 1.0, (count, channels, height, width)).astype(np.float32) ** 2
    return torch.from_numpy(simulated), torch.from_numpy(real)


def swapped(image, reference, beta):
    """Fourier domain adaptation of one channel: the square of low frequencies takes the other's amplitudes."""
    spectrum, other = (np.fft.fftshift(np.fft.fft2(one)) for one in (image, reference))
    reach, mixed = int(beta * min(image.shape)), spectrum.copy()
    first, last = ([int((side - 1) / 2 + sign * reach) for side in image.shape] for sign in (-1, 1))
    for row in range(first[0], last[0]):
        for column in range(first[1], last[1]):
            mixed[row, column] *= np.abs(other[row, column]) / np.abs(spectrum[row, column])
    return np.fft.ifft2(np.fft.ifftshift(mixed)).real


@pytest.mark.parametrize("channels", [1, 3])
def test_every_adaptation_keeps_shape_range_and_type(channels):
    x, y = pair(channels)
    for adapted in (
        fda(x, y, beta=0.2),
        histogram(x, y, blend=1.0),
        pixel_distribution(x, y, transform="standard", blend=1.0),
    ):
        assert (adapted.shape, adapted.dtype) == (x.shape, torch.float32)
        assert 0 <= adapted.min() and adapted.max() <= 1
        assert (adapted - x).abs().mean() > 0.01
        assert (adapted.mean() - y.mean()).abs() < (x.mean() - y.mean()).abs()


@pytest.mark.parametrize("beta", [0.1, 0.3])
def test_fda_gives_low_frequencies_the_amplitudes_of_the_reference(beta):
    x, y = pair(channels=2)
    for found, image, reference in zip(fda(x, y, beta=beta), x.double(), y.double(), strict=True):
        for channel in range(2):
            expected = swapped(image[channel].numpy(), reference[channel].numpy(), beta)
            np.testing.assert_allclose(found[channel], expected.clip(0, 1), atol=1e-4)
    torch.testing.assert_close(fda(x, y, beta=0.0), x, atol=1e-5, rtol=0)


def test_histogram_matching_gives_the_levels_of_the_reference():
    x, y = pair(height=32, width=32)
    found = histogram(x, y, blend=1.0)
    for mine, theirs, before in zip(found, y, x, strict=True):
        for share in (0.1, 0.5, 0.9):
            assert float(mine.quantile(share) - theirs.quantile(share)) == pytest.approx(0, abs=0.02)
        order = before.flatten().argsort()
        assert (mine.flatten()[order].diff() >= -1 / 255).all()  # darker stays darker
    half = histogram(x, y, blend=0.5)
    torch.testing.assert_close(half, (found + x) / 2, atol=3 / 255, rtol=0)


def test_pixel_distributions_match_in_mean_and_deviation():
    x, y = pair(height=32, width=32)
    found = pixel_distribution(x, y, transform="standard", blend=1.0)
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(found, (1, 2, 3)), moment(y, (1, 2, 3)), atol=0.02, rtol=0.05)
    ranged = pixel_distribution(x, y, transform="minmax", blend=1.0)
    assert ranged.amax((1, 2, 3)).sub(y.amax((1, 2, 3))).abs().max() < 0.01
    assert not torch.equal(found, ranged)
    half = pixel_distribution(x, y, transform="standard", blend=0.5)
    torch.testing.assert_close(half, (found + x) / 2, atol=3 / 255, rtol=0)


def test_principal_axes_need_colours_to_differ_from_moments():
    x, y = pair(channels=3)
    tilted = y + 0.5 * y[:, :1]
    tilted = tilted / tilted.max()
    first, second = (pixel_distribution(x, tilted, transform=kind, blend=1.0) for kind in ("pca", "standard"))
    assert (first - second).abs().mean() > 0.005


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(UserError, match="pip install albumentations"):
        fda(*pair(), beta=0.1)
