"""Label preservation, measured on known shifts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy import IMAGE, locate, synthreal_evaluators

from synthreal.data.encoding import from_unit
from synthreal.data.resident import Resident
from synthreal.metrics.landmark_shift import COUNT, landmark_preservation

SPEC = synthreal_evaluators()[0]


def blobs(n, dx=0.0, dy=0.0, dim=0.0):
    """Smooth blobs in the middle third, moved by (dx, dy) px: images and centres."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([7.5, 5.5]) + torch.rand(n, 1, 2, generator=generator) - 0.5
    moved = centre + torch.tensor([dx, dy])
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    squared = (torch.stack([x, y], -1) - moved[..., None, :]).square().sum(-1)[:, None]
    image = 0.2 + 0.6 * torch.exp(-squared / 4) - dim
    return Resident(from_unit(image, IMAGE.dtype), {"centre": centre})


def test_a_known_shift_is_measured():
    for dx, dy in [(0, 0), (1, 0), (0, -2), (1.5, 2.0)]:
        found = landmark_preservation(SPEC, [(blobs(40), blobs(40, dx, dy))])
        distance = (dx**2 + dy**2) ** 0.5
        assert found.shift_px.mean == pytest.approx(distance, abs=0.05)
        assert found.shift_px.std < 0.05
        assert found.control_px == pytest.approx(2, abs=0.02)
        assert found.detector_error_px < 0.05
        assert found.n == 40


def test_a_change_of_tone_is_not_a_shift():
    found = landmark_preservation(SPEC, [(blobs(40), blobs(40, dim=0.1))])
    assert found.change == pytest.approx(0.1, abs=0.003)
    assert found.shift_px.mean < 0.05
    identity = landmark_preservation(SPEC, [(blobs(40), blobs(40))])
    assert (identity.change, identity.shift_px.mean) == (0, 0)


def test_the_first_1000_images_of_every_run_are_used():
    two = [(blobs(COUNT + 50), blobs(COUNT + 50)), (blobs(10), blobs(10, 3))]
    found = landmark_preservation(SPEC, two)
    assert found.n == COUNT + 10
    assert found.shift_px.mean == pytest.approx(3 * 10 / (COUNT + 10), abs=0.01)


def test_without_exact_landmarks_or_without_a_detector():
    images = blobs(5).image
    unlabelled = [(Resident(images), Resident(images))]
    assert landmark_preservation(SPEC, unlabelled).detector_error_px is None
    assert landmark_preservation(replace(SPEC, landmarks=None), [(blobs(5), blobs(5))]).detector_error_px is None
    assert landmark_preservation(replace(SPEC, locate=None), unlabelled) is None


def test_several_landmarks_are_averaged():
    both = replace(SPEC, locate=lambda image: torch.cat([locate(image), torch.zeros(len(image), 1, 2)], dim=1),
                   landmarks=None)  # fmt: skip
    found = landmark_preservation(both, [(blobs(20), blobs(20, 2))])
    assert found.shift_px.mean == pytest.approx(1, abs=0.02)
