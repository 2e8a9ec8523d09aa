"""Micro-batches: the same step in less memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from synthreal.core.game import update_discriminator, update_refiner
from synthreal.core.refiner import equal_slices


class Counting(nn.Module):
    """A network that records the sizes of its batches."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.sizes = network, []
        self.noise_channels = getattr(network, "noise_channels", 0)

    def forward(self, image, *noise):
        self.sizes.append(len(image))
        return self.network(image, *noise)


def parameters(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(("size", "noise"), [(1, 0), (3, 2)])
def test_the_step_of_the_refiner_is_the_same(make_game, images, size, noise):
    x = images(8, dtype=torch.float64)
    whole, parts = (make_game(dtype=torch.float64, noise=noise, ema=0.9) for _ in range(2))
    parts.micro_batch = size
    expected, actual = (update_refiner(game, x, adversarial=True) for game in (whole, parts))
    torch.testing.assert_close(parameters(parts.refiner), parameters(whole.refiner), rtol=1e-10, atol=1e-12)
    for name in ("adversarial", "regularization", "change"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name))
    assert torch.equal(parts.generator.get_state(), whole.generator.get_state())


@pytest.mark.parametrize(("size", "history"), [(1, 20), (3, None), (3, 20)])
def test_the_step_of_the_discriminator_is_the_same(make_game, images, size, history):
    batches = [(images(8, dtype=torch.float64), images(8, dtype=torch.float64)) for _ in range(4)]
    whole, parts = (make_game(dtype=torch.float64, noise=1, history=history) for _ in range(2))
    parts.micro_batch = size
    for x, y in batches:
        expected, actual = (update_discriminator(game, x, y) for game in (whole, parts))
        for name in ("loss", "accuracy_real", "accuracy_refined"):
            torch.testing.assert_close(getattr(actual, name), getattr(expected, name))
    torch.testing.assert_close(parameters(parts.discriminator), parameters(whole.discriminator), rtol=1e-9, atol=1e-12)


def test_gradients_agree_in_float32(make_game, images):
    x = images(32)
    gradients = []
    for size in (None, 5):
        game = make_game()
        game.micro_batch = size
        update_refiner(game, x, adversarial=True)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in game.refiner.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 2e-5 * gradients[0].norm()


def test_networks_never_see_more_than_a_micro_batch(make_game, images):
    game = make_game(history=16)
    game.micro_batch = 3
    game.refiner, game.discriminator = Counting(game.refiner), Counting(game.discriminator)
    update_refiner(game, images(8), adversarial=True)
    update_discriminator(game, images(8), images(8))
    update_discriminator(game, images(8), images(8))  # now half of the refined ones come from the history
    assert game.refiner.sizes == [3, 3, 2, 3, 3, 2, 2, 2]
    assert game.discriminator.sizes == [3, 3, 2] + [3, 3, 3, 3, 2, 2] * 2  # refined and real alternate


def test_one_micro_batch_of_the_whole_batch_gives_identical_bits(make_game, images):
    x, y = images(8), images(8)
    one, other = make_game(history=16, noise=1), make_game(history=16, noise=1)
    other.micro_batch = 8
    for game in (one, other):
        update_refiner(game, x, adversarial=True)
        update_discriminator(game, x, y)
    assert torch.equal(parameters(one.refiner), parameters(other.refiner))
    assert torch.equal(parameters(one.discriminator), parameters(other.discriminator))


def test_slices_are_equal_except_the_last_and_cover_every_row_once():
    for count in range(40):
        for size in (None, *range(1, 45)):
            rows = [range(count)[part] for part in equal_slices(count, size)]
            assert [row for part in rows for row in part] == list(range(count))
            assert max(map(len, rows)) <= (count if size is None else size) and (count == 0 or min(map(len, rows)) > 0)
    assert [part.stop - part.start for part in equal_slices(512, 68)] == [64] * 8
