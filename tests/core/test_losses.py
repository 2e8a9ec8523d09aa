"""The losses against the paper's formulas, patch by patch and pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from synthreal.core.features import ChannelMean, Gradients
from synthreal.core.losses import (
    discriminator_real,
    discriminator_refined,
    refiner_adversarial,
    self_regularization,
)

REAL, REFINED = 0, 1


def discriminator_adversarial(logits_refined, logits_real):
    """Both halves of Eq. 2."""
    return discriminator_refined(logits_refined) + discriminator_real(logits_real)


def cross_entropy(maps: np.ndarray, target: int) -> float:
    """Softmax over the two class maps ``(B, 2, h, w)``, -log of the target's share, a mean over patches."""
    total, patches = 0.0, 0
    for image in maps:
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                weights = [math.exp(image[kind, i, j]) for kind in (REAL, REFINED)]
                total -= math.log(weights[target] / sum(weights))
                patches += 1
    return total / patches


def class_maps(generator, n, h, w):
    maps = 2 * torch.randn(n, 2, h, w, generator=generator, device=generator.device, dtype=torch.float64)
    return maps, maps[:, REFINED:] - maps[:, :REFINED]


def test_the_loss_of_the_refiner_is_the_cross_entropy_to_real(generator):
    for shape in ((1, 1, 1), (3, 9, 14), (2, 7, 5)):
        maps, logits = class_maps(generator, *shape)
        assert refiner_adversarial(logits).item() == pytest.approx(cross_entropy(maps.cpu().numpy(), REAL), rel=1e-12)


@pytest.mark.parametrize(("n_refined", "n_real"), [(4, 4), (2, 5)])
def test_the_loss_of_the_discriminator_is_the_sum_of_two_cross_entropies(n_refined, n_real, generator):
    refined, logits_refined = class_maps(generator, n_refined, 4, 3)
    real, logits_real = class_maps(generator, n_real, 4, 3)
    expected = cross_entropy(refined.cpu().numpy(), REFINED) + cross_entropy(real.cpu().numpy(), REAL)
    loss = discriminator_adversarial(logits_refined, logits_real)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_of_an_uninformed_discriminator_is_log_2_for_each_kind():
    nothing = torch.zeros(2, 1, 3, 3)
    assert refiner_adversarial(nothing).item() == pytest.approx(math.log(2))
    assert discriminator_adversarial(nothing, nothing).item() == pytest.approx(2 * math.log(2))


def test_the_loss_of_the_refiner_does_not_saturate():
    """If D is certain that an image is refined, log D has no slope, while -log(1 - D) has slope 1 / patches."""
    logits = torch.full((2, 1, 3, 3), 40.0, dtype=torch.float64, requires_grad=True)
    refiner_adversarial(logits).backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 1 / 18))


def test_losses_of_huge_logits_are_finite():
    for size in (1e3, 1e30):
        logits = torch.full((1, 1, 2, 2), size)
        assert refiner_adversarial(-logits).item() == 0
        assert refiner_adversarial(logits).item() == pytest.approx(size)
        assert discriminator_adversarial(logits, -logits).item() == 0
        assert discriminator_adversarial(-logits, logits).item() == pytest.approx(2 * size)


def l1_in_loops(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for place in np.ndindex(*a.shape):
        total += abs(a[place] - b[place])
    return total / a.size


def test_self_regularization_in_loops(images):
    refined, simulated = (images(3, 2, 5, 4, dtype=torch.float64) for _ in range(2))
    a, b = refined.cpu().numpy(), simulated.cpu().numpy()
    plain = self_regularization(refined, simulated, [(nn.Identity(), 1.0)])
    assert plain.shape == ()
    assert plain.item() == pytest.approx(l1_in_loops(a, b), rel=1e-12)
    mixed = self_regularization(refined, simulated, [(nn.Identity(), 0.5), (ChannelMean(), 3.0)])
    expected = 0.5 * l1_in_loops(a, b) + 3 * l1_in_loops(a.mean(1), b.mean(1))
    assert mixed.item() == pytest.approx(expected, rel=1e-12)


def test_the_number_of_maps_of_psi_does_not_change_its_weight(images):
    """A psi that repeats its maps four times has the same loss."""

    class Repeat(nn.Module):
        def forward(self, image):
            return image.repeat(1, 4, 1, 1)

    refined, simulated = images(2, 1, 6, 6), images(2, 1, 6, 6)
    once = self_regularization(refined, simulated, [(nn.Identity(), 1.0)])
    torch.testing.assert_close(self_regularization(refined, simulated, [(Repeat(), 1.0)]), once)


def test_the_loss_of_an_unchanged_image_is_zero(images):
    image = images(2)
    assert self_regularization(image, image, [(nn.Identity(), 1.0), (Gradients().to(image.device), 2.0)]).item() == 0


@pytest.mark.parametrize(("n", "height", "width"), [(1, 3, 4), (64, 35, 55)])
def test_losses_do_not_depend_on_batch_and_image_size(n, height, width):
    image = torch.full((n, 1, height, width), 0.5)
    assert self_regularization(image + 0.1, image, [(nn.Identity(), 1.0)]).item() == pytest.approx(0.1, rel=1e-5)
    logits = torch.full((n, 1, height, width), 0.3)
    assert refiner_adversarial(logits).item() == pytest.approx(math.log(1 + math.exp(0.3)), rel=1e-5)


def test_gradients_agree_with_finite_differences(images):
    refined, simulated = (images(2, 1, 4, 5, dtype=torch.float64).requires_grad_() for _ in range(2))
    logits, more = (images(2, 1, 3, 2, dtype=torch.float64).sub(0.5).requires_grad_() for _ in range(2))
    features = [(nn.Identity(), 0.7), (Gradients().to(refined.device), 1.3)]
    assert torch.autograd.gradcheck(refiner_adversarial, (logits,))
    assert torch.autograd.gradcheck(discriminator_adversarial, (logits, more))
    assert torch.autograd.gradcheck(lambda a, b: self_regularization(a, b, features), (refined, simulated))
