"""The pupil detector: accurate on clean eyes, exact for displacements, invariant to changes of appearance."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from synthreal import Batch
from synthreal_gaze.detector import locate_pupil
from synthreal_gaze.simulator import SimulatorOptions, render_simulator


@pytest.fixture(scope="module")
def eyes() -> Batch:
    """Simulated eyes with exact pupil centres."""
    return render_simulator(SimulatorOptions(), 500, torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def located(eyes: Batch) -> torch.Tensor:
    """The detected pupils."""
    return locate_pupil(eyes.image)


def _distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).norm(dim=-1)[:, 0]


def _noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return (image + sigma * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def _equalised(image: torch.Tensor) -> torch.Tensor:
    """Grey levels replaced by their ranks, as histogram equalisation does."""
    ranks = image.flatten(1).argsort(stable=True, dim=1).argsort(1)
    return (ranks.float() / (ranks.shape[1] - 1)).view_as(image)


def test_error_against_exact_labels(eyes: Batch, located: torch.Tensor) -> None:
    assert located.shape == (500, 1, 2)
    error = _distance(located, eyes.labels["pupil"])
    assert error.mean() < 0.7
    assert (error > 3).float().mean() < 0.01
    assert error.mean() < 0.15 * _distance(eyes.labels["pupil"].mean(0, keepdim=True), eyes.labels["pupil"]).mean()


def test_shifts_are_measured_exactly(eyes: Batch, located: torch.Tensor) -> None:
    for dx, dy in [(2, 0), (-2, 0), (0, 2), (0, -2), (1, 1)]:
        padded = F.pad(eyes.image, (2, 2, 2, 2), mode="replicate")
        shifted = padded[:, :, 2 - dy : 37 - dy, 2 - dx : 57 - dx]
        move = locate_pupil(shifted) - located
        torch.testing.assert_close(move.mean((0, 1)), torch.tensor([float(dx), float(dy)]), atol=0.1, rtol=0)
        assert move.norm(dim=-1).mean().item() == pytest.approx((dx**2 + dy**2) ** 0.5, abs=0.1)


def test_a_change_of_appearance_does_not_move_the_pupil(eyes: Batch, located: torch.Tensor) -> None:
    for look, bound in [
        (lambda image: 0.4 + 0.2 * image, 0.01),
        (lambda image: image**0.5, 0.3),
        (lambda image: image**2, 0.4),
        (lambda image: _noisy(image, 0.05), 0.3),
        (lambda image: F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1), 0.4),
        (lambda image: _noisy(_equalised(image), 0.05), 0.7),
    ]:
        changed = look(eyes.image)  # type: ignore[operator]
        moved = _distance(locate_pupil(changed), located)
        assert moved.mean() < bound
        assert (moved > 6).float().mean() < 0.02  # no jumps to brow, lid or corner


def test_an_ellipse_is_located_to_a_fraction_of_a_pixel() -> None:
    rows, columns = torch.meshgrid(torch.arange(35.0), torch.arange(55.0), indexing="ij")
    centres = torch.tensor([[25.3, 14.8], [30.0, 12.5], [20.7, 15.2]])
    distance = ((columns - centres[:, :1, None]) / 8.5).square() + ((rows - centres[:, 1:, None]) / 8.5).square()
    image = torch.sigmoid(12 * (distance.sqrt() - 1))[:, None]
    found = locate_pupil(image)[:, 0]
    # The whole limbus is visible here, so the correction for the lid appears as an error.
    torch.testing.assert_close(found, centres, atol=0.6, rtol=0)
    torch.testing.assert_close(found[:, 0], centres[:, 0], atol=0.15, rtol=0)


def test_images_of_a_batch_are_independent(eyes: Batch, located: torch.Tensor) -> None:
    torch.testing.assert_close(locate_pupil(eyes.image[7:9]), located[7:9], atol=1e-3, rtol=0)


def test_three_channels_and_constant_images(eyes: Batch, located: torch.Tensor) -> None:
    torch.testing.assert_close(locate_pupil(eyes.image[:20].expand(-1, 3, -1, -1)), located[:20], atol=1e-3, rtol=0)
    blank = locate_pupil(torch.stack([torch.zeros(1, 35, 55), torch.ones(1, 35, 55)]))
    assert torch.isfinite(blank).all()
    assert (blank >= 0).all()


@pytest.mark.gpu
def test_cuda_agrees(eyes: Batch, located: torch.Tensor) -> None:
    torch.testing.assert_close(locate_pupil(eyes.image.cuda()).cpu(), located, atol=0.05, rtol=0)
