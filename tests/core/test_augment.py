"""Ordinary augmentation: the effect of each strength, differences between images, and the range [0, 1]."""

from __future__ import annotations

import pytest
import torch

from synthreal.core.augment import augment_images

OFF = {"blur_px": 0.0, "noise": 0.0, "brightness": 0.0, "contrast": 0.0}


def images(count=64, channels=1):
    generator = torch.Generator().manual_seed(3)
    return 0.3 + 0.4 * torch.rand(count, channels, 12, 16, generator=generator)


def after(x, seed=0, **strengths):
    return augment_images(x, torch.Generator().manual_seed(seed), **{**OFF, **strengths})


def test_without_strength_nothing_changes():
    torch.testing.assert_close(after(images()), images())


def test_blur_lowers_contrast_between_neighbours_and_keeps_the_mean():
    x = images()
    y = after(x, blur_px=2.0)
    rough = lambda z: z.diff(dim=-1).abs().mean((1, 2, 3))  # noqa: E731
    share = rough(y) / rough(x)
    assert share.max() <= 1.001 and share.min() < 0.3 and share.std() > 0.1  # from hardly to strongly
    torch.testing.assert_close(y.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=0.02, rtol=0)


def test_noise_is_independent_and_of_the_given_strength():
    x = images(256)
    change = after(x, noise=0.1) - x
    deviations = change.std((1, 2, 3))
    assert 0.08 < deviations.max() < 0.12 and deviations.min() < 0.02
    assert deviations.mean() == pytest.approx(0.05, abs=0.01)


def test_brightness_adds_the_same_to_every_pixel():
    x = images(256)
    change = after(x, brightness=0.2) - x
    assert change.std((1, 2, 3)).max() < 1e-5
    moved = change.mean((1, 2, 3))
    assert -0.2 <= moved.min() < -0.15 and 0.15 < moved.max() <= 0.2


def test_contrast_stretches_about_the_mean():
    x = images(256)
    y = after(x, contrast=0.3)
    torch.testing.assert_close(y.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5, rtol=0)
    share = y.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.7 <= share.min() < 0.75 and 1.25 < share.max() <= 1.3001


def test_the_generator_determines_the_result_and_values_stay_in_range():
    strong = {"blur_px": 3.0, "noise": 0.5, "brightness": 0.8, "contrast": 0.9}
    x = images(8, channels=3)
    assert torch.equal(after(x, **strong), after(x, **strong))
    assert not torch.equal(after(x, **strong), after(x, seed=1, **strong))
    assert after(x, **strong).min() >= 0 and after(x, **strong).max() <= 1


def test_images_smaller_than_the_blur_are_blurred_too(device):
    x = torch.rand(2, 1, 4, 5, device=device)
    generator = torch.Generator(device).manual_seed(0)
    assert augment_images(x, generator, **{**OFF, "blur_px": 9.0}).shape == x.shape
