"""Displacement fields of known motions, and of changes without motion."""

from __future__ import annotations

import math

import pytest
import torch
from kornia.filters import gaussian_blur2d
from torch.nn.functional import interpolate

from synthreal.data.resident import Resident
from synthreal.errors import UserError
from synthreal.metrics import displacement as module
from synthreal.metrics.displacement import (
    LARGEST_PX,
    content_preservation,
    control,
    displacement_field,
    is_measurable,
)

SIDE, MARGIN = 64, 8


def scenes(n: int, channels: int = 1) -> torch.Tensor:
    """Overlapping rectangles and discs on a gradient, ``(n, channels, 80, 80)``."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, SIDE + 2 * MARGIN),) * 2, indexing="ij")
    images = (0.2 + 0.3 * x).expand(n, channels, -1, -1).clone()
    for i in range(n):
        for k in range(12):
            cx, cy, w, h, *colour = torch.rand(4 + channels, generator=generator).tolist()
            dx, dy = (x - cx) / (0.05 + w / 8), (y - cy) / (0.05 + h / 8)
            inside = (dx.abs().maximum(dy.abs()) < 1) if k % 2 else (dx.hypot(dy) < 1)
            images[i] = torch.where(inside, torch.tensor(colour)[:, None, None], images[i])
    return gaussian_blur2d(images, (5, 5), (0.7, 0.7))


def crop(images: torch.Tensor, dx: int = 0, dy: int = 0) -> torch.Tensor:
    """The middle of the scenes, with its content moved by (dx, dy) px."""
    return images[..., MARGIN - dy : MARGIN - dy + SIDE, MARGIN - dx : MARGIN - dx + SIDE]


SCENES = scenes(12)
X = crop(SCENES)


def noise(sigma: float) -> torch.Tensor:
    return sigma * torch.randn(X.shape, generator=torch.Generator().manual_seed(1))


def test_whole_pixels_are_measured_in_direction_and_length():
    for dx, dy in [(2, 0), (0, 2), (-2, 0), (0, -2), (1, 0), (3, -1)]:
        found = displacement_field(X, crop(SCENES, dx, dy))
        assert found.field.nanmedian(-1).values.nanmean((0, 2)).tolist() == pytest.approx([dx, dy], abs=0.1)
        assert found.mean_px() == pytest.approx(math.hypot(dx, dy), abs=0.1)
        assert found.unmatched_share() < 0.1


def test_half_pixels_are_measured():
    large = interpolate(SCENES, scale_factor=2, mode="bicubic", antialias=False)
    moved = interpolate(large.roll(1, -1), scale_factor=0.5, mode="area")
    still = interpolate(large, scale_factor=0.5, mode="area")
    assert displacement_field(crop(still), crop(moved)).mean_px() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x**0.5,
        lambda x: x**2,
        lambda x: 0.4 * x + 0.3,
        lambda x: 1 - x,
        lambda x: gaussian_blur2d(x, (7, 7), (1.0, 1.0)),
        lambda x: x + noise(0.05),
        lambda x: (gaussian_blur2d(x, (7, 7), (1.0, 1.0)) ** 0.7 + noise(0.03)).clamp(0, 1),
    ],
    ids=["same", "brighter", "darker", "contrast", "negative", "blur", "noise", "camera"],
)
def test_a_change_without_motion_is_no_displacement(change):
    found = displacement_field(X, change(X))
    assert found.mean_px() < 0.2
    assert found.unmatched_share() < 0.1


def test_a_camera_does_not_hide_a_displacement():
    moved = gaussian_blur2d(crop(SCENES, 2, 0), (7, 7), (1.0, 1.0)) ** 0.7 + noise(0.03)
    assert displacement_field(X, moved.clamp(0, 1)).mean_px() == pytest.approx(2, abs=0.2)


def test_the_field_shows_where_content_moved():
    y = X.clone()
    y[..., SIDE // 2 :] = crop(SCENES, 0, 2)[..., SIDE // 2 :]
    vertical = displacement_field(X, y).field[:, 1]
    assert vertical[..., :2].nanmean() == pytest.approx(0, abs=0.1)
    assert vertical[..., -2:].nanmean() == pytest.approx(2, abs=0.2)


def test_erased_invented_and_exchanged_content_is_unmatched():
    y = X.clone()
    y[..., :32] = 0.5
    assert 0.2 < displacement_field(X, y).unmatched_share() < 0.8
    assert displacement_field(X, y).unmatched_share() == displacement_field(y, X).unmatched_share()
    assert displacement_field(X, X.roll(1, 0)).unmatched_share() > 0.6


def test_per_image_means_belong_to_their_image():
    y = torch.cat([X[:6], crop(SCENES, 2, 0)[6:]])
    found = displacement_field(X, y).per_image()
    assert found.shape == (12,)
    assert found[:6].max() < 0.01
    assert found[6:].min() > 1.8


def test_the_95th_percentile_is_that_of_the_blocks():
    y = torch.cat([X[:11], crop(SCENES, 2, 0)[11:]])
    found = displacement_field(X, y)
    assert found.p95_px() > 1.5 > found.mean_px()


def test_images_without_structure_have_no_displacement():
    flat = torch.full((2, 1, 24, 24), 0.5)
    found = displacement_field(flat, flat)
    assert found.mean_px() is None and found.p95_px() is None
    assert found.unmatched_share() == 0
    assert found.per_image().tolist() == [0, 0]


def test_an_image_of_which_nothing_is_found_again_counts_as_moved_farthest():
    x, y = X[:3].clone(), crop(SCENES, 3, 3)[:3].clone()
    x[0], y[0] = 0.5, 0.5  # no corners
    y[1] = 0.5  # all corners erased
    still, erased, moved = displacement_field(x, y).per_image().tolist()
    assert still == 0 and erased == pytest.approx(LARGEST_PX) and 3 < moved < erased


def test_the_control_is_what_a_shift_of_2_px_reads():
    assert control(X) == pytest.approx(2, abs=0.1) and is_measurable(X)
    assert control(X[..., :23, :]) is None and not is_measurable(X[..., :23])
    plain = torch.full_like(X, 0.5)
    assert control(plain) is None and not is_measurable(plain)


def test_images_on_which_a_shift_is_misread_are_not_measurable(monkeypatch):
    for reading, measurable in ((1.79, False), (1.81, True), (2.19, True), (2.21, False)):
        monkeypatch.setattr(module, "control", lambda x, reading=reading: reading)
        assert is_measurable(X) == measurable


def test_preservation_of_content_over_all_runs(monkeypatch):
    still, moved = (Resident((255 * images).round().to(torch.uint8)) for images in (X, crop(SCENES, 2, 0)))
    found = content_preservation([(still, still), (still, moved)])
    assert (found.mean_px, found.p95_px, found.control_px) == pytest.approx((1, 2, 2), abs=0.2)
    assert found.unmatched < 0.1 and found.n == 24
    erased = Resident(still.image.clone())
    erased.image[6:] = 128
    assert content_preservation([(still, erased)]).unmatched == pytest.approx(0.5, abs=0.1)
    monkeypatch.setattr(module, "COUNT", 5)
    assert content_preservation([(still, still), (still, moved)]).n == 10
    assert content_preservation([(Resident(still.image[..., :20]),) * 2]) is None


def test_colours_of_one_luminance_count():
    colour = scenes(4, channels=3)
    colour = colour - colour.mean(1, keepdim=True) + 0.5
    assert displacement_field(crop(colour), crop(colour, 2, 0)).mean_px() == pytest.approx(2, abs=0.2)


def test_pairs_are_needed_and_large_enough():
    with pytest.raises(UserError, match="12 and 11"):
        displacement_field(X, X[1:])
    with pytest.raises(UserError, match="24x24"):
        displacement_field(X[..., :23], X[..., :23])
