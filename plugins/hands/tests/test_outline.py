"""The detector: accurate on clean hands, robust to stray pixels, exact for shifts."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from synthreal import Catalog
from synthreal_hands.outline import locate_corners
from synthreal_hands.simulator import SimulatorOptions, render_simulator


def hands(n: int = 400, side: int = 64):
    return render_simulator(SimulatorOptions(), n, torch.Generator().manual_seed(5), side)


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).norm(dim=-1).mean(-1)


@pytest.mark.parametrize(("side", "n"), [(64, 400), (224, 60)])
def test_corners_match_the_labels(side, n):
    batch = hands(n, side)
    error = distance(locate_corners(batch.image), batch.labels["outline"])
    assert error.median() < 0.4
    assert error.mean() < 0.6


def test_shifts_are_measured_exactly():
    for dx, dy in [(2, 0), (0, 3), (-2, -2)]:
        image = hands().image
        moved = pad(image, (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0)), value=1.0)
        height, width = image.shape[-2:]
        moved = moved[..., max(-dy, 0) : max(-dy, 0) + height, max(-dx, 0) : max(-dx, 0) + width]
        shift = locate_corners(moved) - locate_corners(image)
        assert (shift - torch.tensor([dx, dy])).abs().median() < 1e-3
        assert distance(shift, torch.tensor([float(dx), float(dy)])).mean() < 0.1


def test_stray_and_missing_pixels_have_little_effect():
    batch = hands()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(batch.image.shape, generator=generator)
    pepper = torch.where(noise < 0.01, 0.4, batch.image)
    holes = torch.where(noise > 0.97, 1.0, batch.image)
    clean = locate_corners(batch.image)
    assert distance(locate_corners(pepper), clean).mean() < 0.25
    assert distance(locate_corners(holes), clean).mean() < 0.25


def test_a_shorter_finger_is_detected():
    """The top 3 px of every hand are removed."""
    image = hands().image.clone()
    rows = torch.arange(64)[:, None]
    top = (image < 1).any(-1, keepdim=True).float().argmax(2, keepdim=True)
    shorter = torch.where(rows < top + 3, 1.0, image)
    assert distance(locate_corners(shorter), locate_corners(image)).mean() > 1.0


def test_an_empty_image_gives_its_centre():
    assert torch.equal(locate_corners(torch.ones(2, 1, 64, 64)), torch.full((2, 3, 2), 31.5))


def test_the_evaluator_uses_the_detector():
    spec = Catalog.of(["hands"]).evaluator("hands")
    assert spec.locate is locate_corners and spec.landmarks == "outline"
