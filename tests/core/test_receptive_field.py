"""Receptive fields: those of the paper, and numerical probes of networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from synthreal.core.convolution import receptive_field
from synthreal.core.discriminator import Layer, LocalDiscriminator, conv, pool
from synthreal.core.refiner import Refiner

GAZE = (conv(2, 3, 2), conv(2, 3, 2), pool(3, 1), conv(2, 3), conv(2, 1))


def test_the_paper_s_networks_layer_by_layer():
    for layers, fields in (
        ([(3, 2), (3, 2), (3, 1), (3, 1), (1, 1)], [3, 7, 15, 23, 23]),  # D of gaze
        ([(7, 4), (5, 2), (3, 2), (3, 2), (1, 1)], [7, 23, 39, 71, 71]),  # D of hands
        ([(3, 1)] * 9 + [(1, 1)], [3, 5, 7, 9, 11, 13, 15, 17, 19, 19]),  # R of gaze
        ([(7, 1)] * 21 + [(1, 1)], [*range(7, 128, 6), 127]),  # R of hands
    ):
        assert [receptive_field(layers[: n + 1]) for n in range(len(layers))] == fields


def test_without_layers_the_receptive_field_is_one_pixel():
    assert receptive_field([]) == 1
    assert receptive_field(iter([(5, 1)])) == 5


def span(changed: Tensor) -> int:
    """The distance from the first to the last true entry, both included."""
    (where,) = torch.nonzero(changed, as_tuple=True)
    return int(where[-1] - where[0]) + 1


def all_positive(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.zeros_(module.bias)


@pytest.mark.parametrize(
    "layers",
    [GAZE, (conv(2, 5, 1), pool(5, 3), conv(3, 1), conv(2, 3, 3)), (pool(3, 2), conv(1, 9, 1))],
)
@torch.no_grad()
def test_the_receptive_field_of_the_middle_logit(layers: tuple[Layer, ...]):
    """A bright line moves through a grey image; with positive weights every pixel in the field has an effect."""
    network = LocalDiscriminator(1, layers).double()
    all_positive(network)
    network.head.weight[0].zero_()
    field = receptive_field([(layer.kernel, layer.stride) for layer in layers])
    side = 2 * field + 16
    lines = torch.full((side, 1, side, side), 0.5, dtype=torch.float64)
    lines[torch.arange(side), :, :, torch.arange(side)] = 1
    for moved in (lines, lines.transpose(2, 3)):
        logits = network(moved)[:, 0]
        seen = logits[:, logits.shape[1] // 2, logits.shape[2] // 2] > 0
        assert span(seen) == network.receptive_field == field
        assert seen.sum() <= field < side


@pytest.mark.parametrize(("kernel", "blocks"), [(3, 4), (5, 2)])
def test_the_receptive_field_of_a_refined_pixel(kernel: int, blocks: int):
    network = Refiner(1, kernel=kernel, blocks=blocks, width=2).double()
    all_positive(network)
    network.head.weight.data *= 1e-3  # residual sums double at each block; tanh must not saturate
    side = network.receptive_field + 12
    image = torch.full((1, 1, side, side), 0.75, dtype=torch.float64, requires_grad=True)
    network(image)[0, 0, side // 2, side // 2].backward()
    seen = image.grad[0, 0] > 0
    assert span(seen.any(dim=0)) == span(seen.any(dim=1)) == network.receptive_field
    assert int(seen.sum()) == network.receptive_field**2
    assert network.receptive_field == 1 + (kernel - 1) * (1 + 2 * blocks)
