"""Statistics of a data set's images, and warnings about values that look misread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synthreal.data.encoding import from_unit, stored_tensor
from synthreal.data.levels import Levels, level_warnings, measure_levels, sample_size
from synthreal.data.source import convert_image
from synthreal.spec import ImageSpec

GREY = ImageSpec(channels=1, height=8, width=10)
DEPTH = ImageSpec(channels=1, height=8, width=10, dtype="uint16", meaning="depth, 1 far", background=1.0, invalid=1.0)


def noise(n=20, low=0.0, high=1.0, spec=GREY):
    """Images of independent pixels between two levels ``(n, *spec.shape)``."""
    return low + (high - low) * torch.rand((n, *spec.shape), generator=torch.Generator().manual_seed(0))


def measured(images, spec=GREY, role="real") -> Levels:
    return measure_levels(role, spec, from_unit(images, spec.dtype))


def hands(background=1.0):
    """Noise below 0.8 with a border of background."""
    images = noise(high=0.8, spec=DEPTH)
    images[..., :2] = background
    return images


def test_the_statistics_are_those_of_the_pixels():
    images = hands()
    levels = measured(images, DEPTH)
    assert (levels.n, levels.background, levels.invalid) == (20, pytest.approx(0.2), pytest.approx(0.2))
    torch.testing.assert_close(levels.mean, images.mean(0), atol=1e-4, rtol=0)
    assert levels.ends == (0, pytest.approx(0.2))
    assert levels.middle == pytest.approx(np.percentile(images[..., 2:], (1, 99)), abs=1e-4)
    grey = measured(noise())
    assert (grey.background, grey.invalid, grey.constant, grey.equal) == (None, None, 0, False)


def test_messages_name_the_set_by_its_role_or_by_a_given_name():
    dark = from_unit(noise(high=0.05), "uint8")
    assert measure_levels("real", GREY, dark).warnings()[0].startswith("data.real: ")
    assert measure_levels("real", GREY, dark, "my/photos").warnings()[0].startswith("my/photos: ")
    bright = measure_levels("simulated", GREY, from_unit(noise(low=0.6), "uint8"), "renders")
    (warning,) = level_warnings(bright, measured(noise(high=0.3)))
    assert warning.startswith("data.real: ") and " those of renders, " in warning


def test_good_images_give_no_warning():
    assert measured(noise()).warnings() == measured(hands(), DEPTH).warnings() == []
    assert level_warnings(measured(noise(high=0.3), role="simulated"), measured(noise(low=0.2, high=0.7))) == []
    assert level_warnings(measured(hands(), DEPTH, "simulated"), measured(hands(), DEPTH)) == []


@pytest.mark.parametrize("hot", [0, 1])
@pytest.mark.parametrize("others", [0, 10])
@pytest.mark.parametrize("spec", [replace(GREY, height=32), replace(GREY, height=32, dtype="uint16")])
def test_twelve_bit_values_in_16_bit_files(spec, others, hot):
    """Also with a hot pixel in each image, and with some images of full range."""
    files = np.random.default_rng(0).integers(0, 4096, (20, 1, 32, 10), dtype=np.uint16)
    files[:others] <<= 4
    files[:, 0, 0, :hot] = 65535
    stored = stored_tensor(np.stack([convert_image(image, spec) for image in files]))
    (warning,) = measure_levels("real", spec, stored).warnings()
    assert warning.startswith("data.real: ") and "12 bits" in warning
    assert f"in {(20 - others) / 20:.0%} of 20 images" in warning
    full = stored_tensor(np.stack([convert_image(image | 32768, spec) for image in files]))
    assert measure_levels("real", spec, full).warnings() == []


def test_depth_in_another_unit_is_to_be_converted_and_not_to_be_multiplied():
    images = hands()
    images[images < 1] *= 0.01
    (warning,) = measured(images, DEPTH).warnings()
    assert "millimetres" in warning and "depth, 1 far" in warning and "12 bits" not in warning
    images = hands()
    images[images < 1] = 0.3 + 0.4 * images[images < 1]
    (warning,) = level_warnings(measured(hands(), DEPTH, "simulated"), measured(images, DEPTH))
    assert warning.startswith("data.real: ") and "millimetres" in warning
    assert level_warnings(measured(hands(), DEPTH, "simulated"), measured(images[:15], DEPTH)) == []  # too few
    assert level_warnings(measured(noise(high=0.8), role="simulated"), measured(0.3 + 0.4 * noise(high=0.8))) == []


def test_holes_that_are_stored_as_another_value_than_the_declared_one():
    images = hands()
    images[..., 0, 2:4] = 0
    simulated = measured(hands(), DEPTH, "simulated")
    (warning,) = level_warnings(simulated, measured(images, DEPTH))
    assert "2.5% of the pixels are exactly 0" in warning and "store them as 65,535" in warning
    assert level_warnings(measured(images, DEPTH, "simulated"), measured(images, DEPTH)) == []
    assert level_warnings(simulated, measured(images[:15], DEPTH)) == []
    grey = noise(high=0.8)
    grey[..., 0, :2] = 0
    assert level_warnings(measured(noise(high=0.8), role="simulated"), measured(grey)) == []


def test_negatives_are_recognised_by_the_mean_image():
    images = noise() / 2
    images[..., 3:5, 3:7] += 0.5
    (warning,) = level_warnings(measured(images, role="real"), measured(1 - images, role="test"))
    assert warning.startswith("data.test: ") and "negative of that of data.real" in warning
    assert level_warnings(measured(images, role="simulated"), measured(images.flip(0))) == []


def test_mean_images_of_random_windows_are_not_compared():
    """They are flat but for chance, so that their correlation says nothing."""
    brightness = 0.4 + noise(40)[..., :1, :1] / 5
    ramp = torch.linspace(-0.015, 0.015, 10)
    assert level_warnings(measured(brightness + ramp), measured(brightness - ramp, role="test")) == []
    assert level_warnings(measured(brightness + 9 * ramp), measured(brightness - 9 * ramp, role="test")) != []


def test_small_values_that_are_no_integers_and_silhouettes_are_good():
    half = ImageSpec(channels=1, height=8, width=10, dtype="float16")
    assert measured(noise(spec=half) / 1000, half).warnings() == []
    assert measured((hands() > 0.5).float(), DEPTH).warnings() == []  # the only other value is 0


def test_a_declared_value_that_no_pixel_has():
    (warning,) = measured(hands(background=0.0), DEPTH, "test").warnings()
    assert warning.startswith("data.test: ") and "background or invalid" in warning
    assert "65,535 of 65,535" in warning and "depth, 1 far" in warning
    holes = ImageSpec(channels=1, height=8, width=10, dtype="float16", invalid=0.0)
    whole = noise(low=0.1, spec=holes)
    assert measured(whole, holes, "simulated").warnings() == []  # a simulator misses no pixel
    (warning,) = measured(whole, holes).warnings()
    assert "invalid pixels, 0 of 1" in warning


def test_nearly_constant_and_equal_images():
    images = noise()
    images[:3] = 0.5 + images[:3] / 100
    (warning,) = measured(images).warnings()
    assert "15% of 20 images are nearly constant" in warning
    images[1:3] = noise(2)
    assert measured(images).warnings() == []  # one of twenty is tolerated
    assert "all of 20 images are equal" in measured(noise(1).expand(20, -1, -1, -1)).warnings()[0]
    dark = noise() / 100
    dark[0] = 1.0
    assert "nearly constant" not in measured(dark).warnings()[0]  # each by its own largest value
    assert "nearly constant" in measured(torch.zeros(1, *GREY.shape)).warnings()[0]
    assert measured(noise(1)).warnings() == []


@pytest.mark.parametrize(
    ("simulated", "real"),
    [
        (noise(high=0.3), noise(low=0.6)),  # disjoint
        (noise(high=0.3) * noise(), 1 - 0.3 * noise() * noise()),  # inverted
        (noise().pow(9), 1 - noise().pow(9)),  # overlapping, with means apart
    ],
)
def test_levels_of_simulated_and_real_images_that_lie_apart(simulated, real):
    (warning,) = level_warnings(measured(simulated, role="simulated"), measured(real))
    assert warning.startswith("data.real: ") and "data.simulated" in warning and "inverted" in warning


def test_misread_images_are_not_reported_again_as_far_from_the_others():
    (warning,) = level_warnings(measured(noise(low=0.5), role="simulated"), measured(noise() / 16))
    assert "12 bits" in warning


def test_the_sample_is_bounded_by_the_size_of_the_images():
    assert [sample_size(ImageSpec(channels=3, height=side, width=side)) for side in (8, 224, 9000)] == [256, 55, 2]
