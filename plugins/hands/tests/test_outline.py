"""The detector: close to the exact outline on clean hands, blind to stray pixels, true to known shifts."""

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
def test_corners_are_where_the_bones_say(side, n):
    batch = hands(n, side)
    error = distance(locate_corners(batch.image), batch.labels["outline"])
    assert error.median() < 0.4
    assert error.mean() < 0.6


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, 3), (-2, -2)])
def test_a_known_shift_is_read_as_that_shift(dx, dy):
    image = hands().image
    moved = pad(image, (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0)), value=1.0)
    height, width = image.shape[-2:]
    moved = moved[..., max(-dy, 0) : max(-dy, 0) + height, max(-dx, 0) : max(-dx, 0) + width]
    shift = locate_corners(moved) - locate_corners(image)
    assert (shift - torch.tensor([dx, dy])).abs().median() < 1e-3
    assert distance(shift, torch.tensor([float(dx), float(dy)])).mean() < 0.1


def test_stray_and_missing_pixels_hardly_count():
    batch = hands()
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(batch.image.shape, generator=generator)
    pepper = torch.where(noise < 0.01, 0.4, batch.image)
    holes = torch.where(noise > 0.97, 1.0, batch.image)
    clean = locate_corners(batch.image)
    assert distance(locate_corners(pepper), clean).mean() < 0.25
    assert distance(locate_corners(holes), clean).mean() < 0.25


def test_a_finger_that_shrinks_is_noticed():
    """What preservation must not miss: the top of every hand cut off by 3 px."""
    image = hands().image.clone()
    rows = torch.arange(64)[:, None]
    top = (image < 1).any(-1, keepdim=True).float().argmax(2, keepdim=True)
    shorter = torch.where(rows < top + 3, 1.0, image)
    assert distance(locate_corners(shorter), locate_corners(image)).mean() > 1.0


def test_nothing_at_all_gives_the_middle():
    assert torch.equal(locate_corners(torch.ones(2, 1, 64, 64)), torch.full((2, 3, 2), 31.5))


def test_the_evaluator_uses_it():
    spec = Catalog.of(["hands"]).evaluator("hands")
    assert spec.locate is locate_corners and spec.landmarks == "outline"
