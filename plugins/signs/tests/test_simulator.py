from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from synthreal import Batch
from synthreal_signs.geometry import SIGN, SIZE
from synthreal_signs.plate import RING_OUTER
from synthreal_signs.simulator import LABELS, SimulatorOptions, render_simulator


def render(n: int = 256, seed: int = 0, **options: Any) -> Batch:
    return render_simulator(SimulatorOptions(**options), n, torch.Generator().manual_seed(seed))


def test_images_are_8_bit_and_labels_as_declared() -> None:
    batch = render()
    assert batch.image.shape == (256, *SIGN.shape)
    assert batch.image.dtype == torch.float32
    levels = batch.image * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert 0 <= batch.image.min() < 0.05 and 0.95 < batch.image.max() <= 1
    assert {label.name: (256, *label.shape) for label in LABELS} == {k: tuple(v.shape) for k, v in batch.labels.items()}
    assert batch.labels["class"].dtype == torch.int64
    assert all(value.dtype == torch.float32 for name, value in batch.labels.items() if name != "class")


def test_images_depend_on_the_generator_alone() -> None:
    first, again, other = render(seed=5), render(seed=5), render(seed=6)
    assert torch.equal(first.image, again.image)
    assert all(torch.equal(first.labels[name], again.labels[name]) for name in first.labels)
    assert not torch.equal(first.image, other.image)


def test_classes_are_equally_frequent() -> None:
    count = render(2048).labels["class"].bincount(minlength=8)
    assert count.min() > 190 and count.max() < 325


def test_the_plate_lies_in_the_image() -> None:
    batch = render(1024)
    ends = batch.labels["extent"]
    assert ends.min() > -0.5 and ends.max() < SIZE - 0.5
    centre = batch.labels["corners"].mean(1)
    assert (centre - (SIZE - 1) / 2).abs().max() < 2.5


def test_scale_is_the_diameter_of_the_plate() -> None:
    ring = render(512, scale=(0.5, 0.7), tilt_deg=0.0).labels["ring"]
    diameter = 2 * ring[:, 2] / RING_OUTER / SIZE
    assert diameter.min().item() == pytest.approx(0.5, abs=0.01)
    assert diameter.max().item() == pytest.approx(0.7, abs=0.01)


def test_offset_px_moves_the_centre() -> None:
    still, moved = (render(512, offset_px=px, tilt_deg=0.0).labels["ring"][:, :2] for px in (0.0, 3.0))
    torch.testing.assert_close(still, torch.full_like(still, (SIZE - 1) / 2), atol=1e-3, rtol=0)
    assert (moved - still).abs().amax(0).tolist() == pytest.approx([3, 3], abs=0.1)


def test_tilt_deg_narrows_the_ring() -> None:
    for degrees, least in ((0.0, 1.0), (50.0, math.cos(math.radians(50)))):
        ring = render(1024, tilt_deg=degrees).labels["ring"]
        assert (ring[:, 3] / ring[:, 2]).min().item() == pytest.approx(least, abs=0.06)


def test_roll_deg_turns_the_plate() -> None:
    for degrees in (0.0, 20.0):
        corners = render(1024, roll_deg=degrees, tilt_deg=0.0).labels["corners"]
        side = corners[:, 1] - corners[:, 0]
        turn = torch.atan2(side[:, 1], side[:, 0]).rad2deg()
        assert turn.abs().max().item() == pytest.approx(degrees, abs=0.1)


def test_contrast_brings_digits_and_ring_closer_to_the_disc() -> None:
    def spread(contrast: float) -> torch.Tensor:
        image = render(contrast=contrast, scale=(0.88, 0.88), offset_px=0.0).image
        return image[:, :, 8:24, 8:24].flatten(1).std(1).mean()

    assert spread(0.2) < 0.4 * spread(1.0)


def test_ranges_that_cannot_be_drawn_are_refused() -> None:
    for change in ({"scale": (0.8, 0.5)}, {"scale": (0.1, 0.5)}, {"contrast": 0.0}, {"tilt_deg": 80.0}):
        with pytest.raises(ValidationError):
            SimulatorOptions(**change)


@pytest.mark.gpu
def test_the_simulator_draws_on_the_generators_device() -> None:
    batch = render_simulator(SimulatorOptions(), 32, torch.Generator("cuda").manual_seed(0))
    assert batch.image.is_cuda
    assert all(value.is_cuda for value in batch.labels.values())
