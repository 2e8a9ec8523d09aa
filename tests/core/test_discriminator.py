"""D: sizes, values against loops, the meaning of a logit and its receptive field."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from synthreal.core.discriminator import GlobalDiscriminator, Layer, LocalDiscriminator, conv, pool
from synthreal.errors import UserError
from synthreal.hooks.builtin import PAPER_GAZE, synthreal_networks
from synthreal.spec import ImageSpec

PAPER_HANDS = (conv(96, 7, 4), conv(64, 5, 2), pool(3, 2), conv(32, 3, 2), conv(32, 1))
SMALL = (conv(4, 5, 2), pool(3, 1), conv(3, 3), pool(3, 2), conv(2, 1))
LOCAL, GLOBAL = (spec for spec in synthreal_networks() if spec.part == "discriminator")
IMAGE = ImageSpec(channels=1, height=35, width=55)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_paper_s_sizes(device):
    gaze = LOCAL.build(LOCAL.options(), IMAGE).to(device)
    hands = LocalDiscriminator(1, PAPER_HANDS).to(device)
    assert (count(gaze), gaze.receptive_field) == (75_906, 23)
    assert (count(hands), hands.receptive_field) == (178_050, 71)
    assert gaze(torch.rand(2, 1, 35, 55, device=device)).shape == (2, 1, 9, 14)
    assert hands(torch.rand(1, 1, 224, 224, device=device)).shape == (1, 1, 7, 7)


def test_images_of_any_size_are_accepted(device):
    for height, width in ((1, 1), (4, 19), (17, 8)):
        logits = LocalDiscriminator(3, PAPER_GAZE).to(device)(torch.rand(2, 3, height, width, device=device))
        assert logits.shape == (2, 1, -(-height // 4), -(-width // 4))


def maps_in_loops(network: nn.Module, layers: tuple[Layer, ...], image: np.ndarray, slow) -> np.ndarray:
    maps = 2 * image - 1
    convolutions = [module for module in network.trunk if isinstance(module, nn.Conv2d)]
    for layer in layers:
        if layer.kind == "pool":
            maps = slow.pool(maps, layer.kernel, layer.stride)
        else:
            maps = np.maximum(slow.conv(maps, convolutions.pop(0), stride=layer.stride), 0)
    assert not convolutions
    return maps


def test_local_logits_in_loops(slow, generator, device):
    network = LocalDiscriminator(2, SMALL).to(device).double()
    image = torch.rand(2, 2, 9, 11, generator=generator, device=device, dtype=torch.float64)
    expected = []
    for one in image.cpu().numpy():
        real, refined = slow.conv(maps_in_loops(network, SMALL, one, slow), network.head)
        expected.append(refined[None] - real[None])
    logits = network(image)
    assert logits.dtype == torch.float64
    np.testing.assert_allclose(logits.detach().cpu().numpy(), np.stack(expected), rtol=1e-10, atol=1e-12)


def test_global_logits_in_loops(slow, generator, device):
    network = GlobalDiscriminator(2, 9, 11, SMALL).to(device).double()
    image = torch.rand(2, 2, 9, 11, generator=generator, device=device, dtype=torch.float64)
    weight, bias = (value.detach().cpu().numpy() for value in (network.head.weight, network.head.bias))
    logits = network(image)
    assert logits.shape == (2, 1, 1, 1)
    for i, one in enumerate(image.cpu().numpy()):
        flat = maps_in_loops(network, SMALL, one, slow).reshape(-1)
        real, refined = (sum(w * f for w, f in zip(weight[k], flat, strict=True)) + bias[k] for k in range(2))
        assert logits[i].item() == pytest.approx(refined - real, rel=1e-10)


def test_the_global_discriminator_accepts_only_the_size_it_was_built_for(device):
    network = GLOBAL.build(GLOBAL.options(), IMAGE).to(device)
    assert network(torch.rand(3, 1, 35, 55, device=device)).shape == (3, 1, 1, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        network(torch.rand(3, 1, 36, 60, device=device))


def test_a_logit_depends_on_its_patch_only(generator, device):
    network = LocalDiscriminator(1, SMALL).to(device).double()
    image = torch.rand(1, 1, 64, 64, generator=generator, device=device, dtype=torch.float64)
    painted = image.clone()
    painted[..., 30:34, 30:34] = 0
    changed = (network(painted) - network(image))[0, 0].detach().abs() > 0
    assert changed.any()
    step = 64 // changed.shape[0]
    for i, j in torch.nonzero(changed).tolist():
        for place in (i, j):
            assert 30 - network.receptive_field <= place * step <= 33 + network.receptive_field
    assert not changed.all()


@pytest.mark.parametrize("kind", ["local", "global"])
def test_images_of_a_batch_do_not_mix(kind, generator, device):
    network = LocalDiscriminator(1, SMALL) if kind == "local" else GlobalDiscriminator(1, 9, 11, SMALL)
    image = torch.rand(6, 1, 9, 11, generator=generator, device=device, dtype=torch.float64)
    for training in (True, False):
        network = network.to(device).double().train(training)
        torch.testing.assert_close(network(image)[2:5], network(image[2:5]))


@pytest.mark.parametrize("kind", ["local", "global"])
def test_the_range_inside_is_minus_one_to_one(kind, device):
    network = LocalDiscriminator(1, SMALL) if kind == "local" else GlobalDiscriminator(1, 3, 7, SMALL)
    seen = []
    network.to(device).trunk.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.linspace(0, 1, 21, device=device).view(1, 1, 3, 7)
    network(image)
    torch.testing.assert_close(seen[0], 2 * image - 1)


@pytest.mark.parametrize("kind", ["local", "global"])
def test_gradients_agree_with_finite_differences(kind, generator, device):
    layers = (conv(3, 3, 2), pool(3, 1), conv(2, 1))
    network = LocalDiscriminator(1, layers) if kind == "local" else GlobalDiscriminator(1, 5, 6, layers)
    network = network.to(device).double()
    names, values = zip(*network.named_parameters(), strict=True)
    image = torch.rand(2, 1, 5, 6, generator=generator, device=device, dtype=torch.float64, requires_grad=True)

    def call(image, *values):
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (image,))

    assert torch.autograd.gradcheck(call, (image, *(value.detach().requires_grad_() for value in values)))


def test_reduced_precision_comes_back_as_float32_and_close(generator, device):
    network = LocalDiscriminator(1, PAPER_GAZE).to(device)
    image = torch.rand(2, 1, 35, 55, generator=generator, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        reduced = network(image)
    assert reduced.dtype == torch.float32
    assert 0 < float((reduced - network(image)).detach().abs().max()) < 0.02


def test_invalid_layers_are_refused():
    for layer in (lambda: conv(4, 4), lambda: pool(2, 2)):
        with pytest.raises(ValidationError, match="odd"):
            layer()
    for spec in (LOCAL, GLOBAL):
        for layers, offender in (((conv(0, 3),), "conv"), ((conv(4, 3), Layer(kind="pool", maps=4)), "pool")):
            with pytest.raises(UserError, match=rf"layers\[{len(layers) - 1}\]: .*{offender}"):
                spec.build(spec.options(layers=layers), IMAGE)
