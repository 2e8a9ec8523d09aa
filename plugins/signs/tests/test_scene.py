"""What is drawn lies where the labels say, and looks as a sign does."""

from __future__ import annotations

import pytest
import torch

from synthreal import Batch
from synthreal_signs.geometry import SIZE
from synthreal_signs.plate import RING_INNER, RING_OUTER, Plate
from synthreal_signs.random_columns import RandomColumns
from synthreal_signs.scene import COLUMNS, SAMPLES, Layers, draw
from synthreal_signs.simulator import SimulatorOptions, render_simulator


@pytest.fixture(scope="module")
def signs() -> Batch:
    return render_simulator(SimulatorOptions(), 512, torch.Generator().manual_seed(3))


def reach(ring: torch.Tensor) -> torch.Tensor:
    """Distance ``(n, 32, 32)`` of pixels from the centre of the ring, 1 on its outer border."""
    x, y, a, b, angle = ring.T[..., None, None]
    place = torch.arange(float(SIZE))
    dx, dy = place - x, place[:, None] - y
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    return ((along / a).square() + (across / b).square()).sqrt()


def test_the_red_pixels_lie_in_the_labelled_ring(signs: Batch) -> None:
    distance = reach(signs.labels["ring"])
    inner = (RING_INNER + 0.03) / RING_OUTER
    red = signs.image[:, 0] - signs.image[:, 1]
    inside = (distance > inner + 0.05) & (distance < 0.95)
    assert (red[inside] > 0.05).float().mean() > 0.95
    disc = distance < RING_INNER / RING_OUTER - 0.12
    assert red[disc].abs().mean() < 0.05


def test_the_outer_border_of_the_ring_is_the_labelled_ellipse() -> None:
    """The share of a drawn mask in each pixel equals that of the labelled ellipse, sampled finely."""
    unit = torch.rand(30, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x, y, yaw, pitch, roll = 15.5 + unit[:, 1], 15.5 + unit[:, 2], unit[:, 3], unit[:, 4], unit[:, 5]
    plate = Plate.of(12 + 2 * unit[:, 0], x, y, yaw, pitch, roll, 8 + 2 * unit[:, 6])
    u, v = plate.coordinates(SIZE, 8)
    drawn = ((u.square() + v.square()) < RING_OUTER**2).float().unflatten(1, (SIZE, 8)).unflatten(3, (SIZE, 8))
    cx, cy, a, b, angle = plate.labels()["ring"].T[..., None, None]
    place = (torch.arange(SIZE * 8) + 0.5) / 8 - 0.5
    dx, dy = place - cx, place[:, None] - cy
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    true = ((along / a).square() + (across / b).square() < 1).float().unflatten(1, (SIZE, 8)).unflatten(3, (SIZE, 8))
    assert (drawn.mean((2, 4)) - true.mean((2, 4))).abs().max() < 0.05


def test_the_digits_are_darker_than_the_disc_and_differ_by_class() -> None:
    """Same table, other speed: only pixels of the digits change, and every pair of classes differs."""
    table = torch.rand(1, COLUMNS, generator=torch.Generator().manual_seed(0)).expand(8, -1)
    one = torch.ones(8)
    plate = Plate.of(13 * one, 15.5 * one, 15.5 * one, 0 * one, 0 * one, 0 * one, 10 * one)
    columns = RandomColumns(table)
    image = draw(plate, torch.arange(8), columns, 1.0)
    assert columns.used == COLUMNS
    distance = reach(plate.labels()["ring"])
    assert (image - image[:1]).abs().amax(1)[distance > 0.75].max() < 1e-5
    apart = (image[:, None] - image).abs().mean((2, 3, 4))
    assert (apart + torch.eye(8)).min() > 0.003
    disc = image.mean(1).masked_fill(distance > 0.6, torch.nan).flatten(1)
    assert (disc.nanquantile(0.9, 1) > disc.nanquantile(0.1, 1) + 0.1).all()


def test_backgrounds_neighbours_and_poles_vary(signs: Batch) -> None:
    distance = reach(signs.labels["ring"])
    outside = signs.image.permute(0, 2, 3, 1)[distance > 1.3]
    assert outside.std(0).min() > 0.15
    assert outside.amin() < 0.1 and outside.amax() > 0.9
    red = (signs.image[:, 0] > 1.5 * signs.image[:, 1]) & (distance > 1.15)
    assert 0.05 < (red[:, -4:].flatten(1).sum(1) > 10).float().mean() < 0.4  # rings of signs below


def test_layers_hide_what_is_behind_them_and_fill_the_image() -> None:
    half = torch.zeros(1, 2 * SAMPLES, 2 * SAMPLES)
    half[:, :, : SAMPLES + 1] = 1
    layers = Layers(torch.ones_like(half))
    layers.add(half, torch.tensor([[1.0, 0.0, 0.0]]))
    layers.add(torch.ones_like(half), torch.tensor([[0.0, 1.0, 0.0]]))
    layers.add(torch.ones_like(half), torch.tensor([[0.0, 0.0, 1.0]]))
    red, green, blue = layers.image()[0]
    assert red.tolist() == [[1, 1 / SAMPLES]] * 2
    assert green.tolist() == [[0, 1 - 1 / SAMPLES]] * 2
    assert (blue == 0).all()
