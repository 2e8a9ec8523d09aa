from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pictures import CHANGES, blurred, brighter, noisy, pictures
from torch import Tensor

from synthreal.metrics.spectrum import _rings, radial_spectrum, spectrum_distance


def slow(images: Tensor) -> np.ndarray:
    """numpy's FFT, every frequency in a loop."""
    n, channels, height, width = images.shape
    short = min(height, width)
    down, across = ([math.sin(math.pi * (i + 1) / (side + 1)) ** 2 for i in range(side)] for side in (height, width))
    window = np.outer(down, across)
    floor = (1 / 255) ** 2 / 12 * (window**2).sum()
    profiles = []
    for image in images.double().numpy():
        for channel in image:
            power = np.abs(np.fft.fft2(window * (channel - (window * channel).sum() / window.sum()))) ** 2
            rings: dict[int, list[float]] = {}
            for u in range(height):
                for v in range(width):
                    fy, fx = (u if u < height / 2 else u - height) / height, (v if v < width / 2 else v - width) / width
                    rings.setdefault(round(math.hypot(fy, fx) * short), []).append(power[u, v])
            profiles.append([10 * math.log10(max(floor, sum(rings[k]) / len(rings[k]))) for k in sorted(rings)[1:]])
    return np.array(profiles).reshape(n, channels, -1).mean(0)


@pytest.mark.parametrize(("size", "channels"), [((35, 55), 1), ((9, 7), 2)])
def test_spectra_equal_a_slow_oracle(size, channels):
    a, b = pictures(3, 0, size, channels), noisy(pictures(2, 1, size, channels))
    np.testing.assert_allclose(radial_spectrum(a).numpy(), slow(a), atol=2e-3)
    expected = math.sqrt(((slow(a) - slow(b)) ** 2).mean())
    assert float(spectrum_distance(a, b)) == pytest.approx(expected, rel=1e-3)


def test_the_spectrum_does_not_depend_on_the_parts(monkeypatch):
    images = pictures(9, 0)
    whole = radial_spectrum(images)
    monkeypatch.setattr("synthreal.metrics.inputs.PART_VALUES", 20 * 24 * 16 * 2)
    torch.testing.assert_close(radial_spectrum(images), whole)


def test_a_wave_has_its_power_at_its_frequency():
    x = torch.arange(64.0)
    wave = (0.5 + 0.4 * torch.sin(2 * math.pi * 9 / 64 * x)).expand(1, 1, 64, 64)
    assert int(radial_spectrum(wave)[0].argmax()) + 1 == 9
    turned = wave.transpose(2, 3)
    assert float(spectrum_distance(wave, turned)) < 1e-3


def test_half_the_contrast_is_six_decibels_and_brightness_does_not_count():
    images = pictures(20, 0)
    assert float(spectrum_distance(images, 0.5 + 0.5 * (images - 0.5))) == pytest.approx(20 * math.log10(2), abs=0.02)
    assert float(spectrum_distance(images, brighter(images))) < 1e-3
    assert float(spectrum_distance(images, images)) == 0


def test_changes_exceed_chance():
    null = max(float(spectrum_distance(pictures(200, 2 * s), pictures(200, 2 * s + 1))) for s in range(4))
    for change in (blurred, noisy):
        assert float(spectrum_distance(pictures(200, 8), change(pictures(200, 9)))) > 5 * null
    assert CHANGES["blur"] is blurred


def test_blur_lowers_and_noise_raises_high_frequencies():
    images = pictures(50, 0)
    plain, soft, grainy = (radial_spectrum(some)[0] for some in (images, blurred(images), noisy(images)))
    fine = slice(len(plain) // 2, None)
    assert (soft[fine] < plain[fine]).all() and (grainy[fine] > plain[fine]).all()


def test_constant_images_have_a_finite_spectrum():
    flat = torch.full((3, 1, 16, 16), 0.7)
    assert torch.isfinite(radial_spectrum(flat)).all()
    almost = flat + 1e-4 * torch.rand(flat.shape, generator=torch.Generator().manual_seed(0))
    assert float(spectrum_distance(flat, almost)) == 0, "less than rounding to 8 bits does not count"


def test_every_ring_holds_a_frequency():
    for size in [(4, 4), (4, 100), (5, 5), (7, 9), (35, 55), (64, 64), (224, 224)]:
        assert (torch.bincount(_rings(*size).flatten()) > 0).all()
