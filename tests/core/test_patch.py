"""Random patches: their positions, and that R, D and the losses are the same on them."""

from __future__ import annotations

import torch

from synthreal.core.discriminator import LocalDiscriminator, conv
from synthreal.core.losses import discriminator_real, discriminator_refined, refiner_adversarial, self_regularization
from synthreal.core.patch import random_patches
from synthreal.core.refiner import Refiner


def numbered(count: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    """Images ``(count, 2, H, W)`` of two channels: row and column of the pixel, plus 1000 times the image index."""
    rows = torch.arange(height, device=device).float()[:, None].expand(height, width)
    columns = torch.arange(width, device=device).float().expand(height, width)
    number = 1000.0 * torch.arange(count, device=device)[:, None, None, None]
    return torch.stack([rows, columns]) + number


def test_a_patch_is_a_window_of_its_own_image(generator, device):
    images = numbered(6, 9, 13, device)
    patches = random_patches(images, 5, generator)
    assert patches.shape == (6, 2, 5, 5)
    for image, patch in zip(images, patches, strict=True):
        top, left = (int(patch[channel, 0, 0] % 1000) for channel in (0, 1))
        assert torch.equal(patch, image[:, top : top + 5, left : left + 5])


def test_all_positions_are_about_equally_frequent(generator, device):
    patches = random_patches(numbered(1, 4, 5, device).expand(6000, 2, 4, 5), 3, generator)
    places = patches[:, 0, 0, 0] * 3 + patches[:, 1, 0, 0]
    counts = torch.bincount(places.long(), minlength=6)
    assert counts.numel() == 6
    assert (counts - 1000).abs().max() < 150


def test_a_patch_as_large_as_the_image_is_the_image(generator, device):
    images = torch.rand(3, 1, 7, 7, device=device)
    assert torch.equal(random_patches(images, 7, generator), images)


def test_the_generator_determines_the_patches(device):
    images = numbered(20, 9, 9, device)
    one, same, other = (random_patches(images, 4, torch.Generator(device).manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_inside_a_patch_r_and_d_compute_the_same_as_on_the_whole_image():
    torch.manual_seed(0)
    refiner = Refiner(1, blocks=1, width=4).double()
    discriminator = LocalDiscriminator(1, [conv(4, 3, 2), conv(4, 3)]).double()
    image = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    patch, margin = image[..., 8:32, 8:32], refiner.receptive_field // 2
    inside = slice(margin, 24 - margin)
    torch.testing.assert_close(
        refiner(patch)[..., inside, inside], refiner(image)[..., 8:32, 8:32][..., inside, inside]
    )
    torch.testing.assert_close(
        discriminator(patch)[..., 2:-2, 2:-2], discriminator(image)[..., 4:16, 4:16][..., 2:-2, 2:-2]
    )


def test_losses_and_lambda_do_not_depend_on_the_patch():
    """On periodic images every loss is the same at every size."""
    torch.manual_seed(0)
    discriminator = LocalDiscriminator(1, [conv(4, 1), conv(4, 1)]).double()
    whole = torch.rand(1, 1, 8, 8, dtype=torch.float64).repeat(1, 1, 6, 6)
    refined = 0.9 * whole
    identity = [(torch.nn.Identity(), 1.0)]

    def losses(cut: int) -> list[torch.Tensor]:
        x, y = whole[..., :cut, :cut], refined[..., :cut, :cut]
        fooling = refiner_adversarial(discriminator(y))
        return [
            fooling,
            discriminator_refined(discriminator(y)),
            discriminator_real(discriminator(x)),
            self_regularization(y, x, identity),
        ]

    for actual, expected in zip(losses(16), losses(48), strict=True):
        torch.testing.assert_close(actual, expected)
