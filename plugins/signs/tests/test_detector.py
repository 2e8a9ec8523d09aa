"""The ring detector: accurate on drawn signs, exact for displacements, steady under changes of appearance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from synthreal import Batch
from synthreal_signs.detector import locate_ring
from synthreal_signs.plate import RING_INNER, RING_OUTER
from synthreal_signs.simulator import SimulatorOptions, render_simulator


@pytest.fixture(scope="module")
def signs() -> Batch:
    return render_simulator(SimulatorOptions(), 256, torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def located(signs: Batch) -> torch.Tensor:
    return locate_ring(signs.image)


def _distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).norm(dim=-1)


def _noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return (image + sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def _blurred(image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)


def test_error_against_exact_labels(signs: Batch, located: torch.Tensor) -> None:
    assert located.shape == (256, 5, 2)
    error = _distance(located, signs.labels["extent"])
    assert error[:, 0].median() < 0.25
    assert error.mean(1).median() < 0.5
    assert (error[:, 0] > 2).float().mean() < 0.05


def test_shifts_are_measured(signs: Batch, located: torch.Tensor) -> None:
    for dx, dy in [(2, 0), (-2, 0), (0, 2), (0, -2)]:
        padded = F.pad(signs.image, (2, 2, 2, 2), mode="replicate")
        move = locate_ring(padded[:, :, 2 - dy : 34 - dy, 2 - dx : 34 - dx]) - located
        torch.testing.assert_close(move.mean((0, 1)), torch.tensor([float(dx), float(dy)]), atol=0.15, rtol=0)
        assert move.norm(dim=-1).mean().item() == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize(
    ("change", "median"),
    [
        (lambda image: 0.3 * image, 0.01),
        (lambda image: 0.4 + 0.2 * image, 0.01),
        (lambda image: image**2, 0.1),
        (lambda image: _noisy(image, 0.03), 0.1),
        (_blurred, 0.4),
        (lambda image: _noisy(0.5 * _blurred(image), 0.02), 0.5),
        (lambda image: image.mean(1, keepdim=True), 0.01),
        (lambda image: image[:, [1, 0, 2]], 0.01),  # a green ring
    ],
)
def test_a_change_of_appearance_does_not_move_the_ring(
    signs: Batch, located: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor], median: float
) -> None:
    moved = _distance(locate_ring(change(signs.image)), located).mean(1)
    assert moved.median() < median
    assert (moved > 2).float().mean() < 0.12


def test_an_ellipse_is_located_to_a_fraction_of_a_pixel() -> None:
    place = torch.arange(32.0)
    centre, axes = (torch.tensor(pair)[:, :, None, None] for pair in ([[15.3, 16.8]], [[8.5, 7.6]]))
    radius = ((place - centre[:, 0]) / axes[:, 0]).square() + ((place[:, None] - centre[:, 1]) / axes[:, 1]).square()
    radius = radius.sqrt()[:, None]
    image = 0.7 * torch.sigmoid(12 * (1 - radius)) + 0.4 * torch.sigmoid(12 * (radius - 1 / RING_INNER)) + 0.1
    factor = RING_OUTER / RING_INNER
    middle, (a, b) = torch.tensor([15.3, 16.8]), (8.5 * factor, 7.6 * factor)
    true = middle + torch.tensor([[0.0, 0.0], [a, 0.0], [0.0, b], [-a, 0.0], [0.0, -b]])
    found = locate_ring(image)[0]
    torch.testing.assert_close(found[0], true[0], atol=0.15, rtol=0)
    torch.testing.assert_close(found, true, atol=0.6, rtol=0)


def test_images_of_a_batch_are_independent(signs: Batch, located: torch.Tensor) -> None:
    torch.testing.assert_close(locate_ring(signs.image[7:9]), located[7:9], atol=1e-3, rtol=0)


def test_plain_images_give_finite_places_near_the_image() -> None:
    blank = locate_ring(torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)]))
    assert torch.isfinite(blank).all()
    assert (blank - 15.5).abs().max() < 32


@pytest.mark.gpu
def test_cuda_agrees(signs: Batch, located: torch.Tensor) -> None:
    assert _distance(locate_ring(signs.image.cuda()).cpu(), located).median() < 0.05
