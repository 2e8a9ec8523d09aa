"""R: sizes, values against loops, borders, ranges and noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from synthreal.core.refiner import Refiner, refine
from synthreal.errors import UserError
from synthreal.hooks.builtin import synthreal_networks
from synthreal.spec import ImageSpec

PADDINGS = ("zeros", "replicate", "reflect")
RESNET = next(spec for spec in synthreal_networks() if spec.name == "resnet")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_paper_s_sizes():
    with torch.device("meta"):
        gaze, hands = Refiner(), Refiner(kernel=7, blocks=10)
    assert (count(gaze), gaze.receptive_field) == (296_129, 19)
    assert (count(hands), hands.receptive_field) == (4_018_625, 127)
    assert hands(torch.empty(1, 1, 224, 224, device="meta")).shape == (1, 1, 224, 224)
    built = RESNET.build(RESNET.options(), ImageSpec(channels=1, height=35, width=55))
    assert count(built) == 296_129
    assert (built.noise_channels, built.stem.padding_mode) == (0, "zeros")


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_size_is_preserved(padding, generator, device):
    refiner = Refiner(3, blocks=1, width=4, padding=padding).to(device)
    for size in ((35, 55), (2, 9), (9, 2), *([] if padding == "reflect" else [(1, 1)])):
        image = torch.rand(2, 3, *size, generator=generator, device=device)
        refined = refiner(image)
        assert refined.shape == image.shape
        assert refined.dtype == torch.float32


@pytest.mark.parametrize(
    ("padding", "kernel", "noise_channels"), [("zeros", 3, 0), ("replicate", 5, 2), ("reflect", 5, 0), ("zeros", 1, 1)]
)
def test_the_paper_s_formula_in_loops(padding, kernel, noise_channels, slow, generator, device):
    refiner = Refiner(2, kernel=kernel, blocks=2, width=3, padding=padding, noise_channels=noise_channels)
    refiner = refiner.to(device).double()
    image = torch.rand(2, 2, 5, 4, generator=generator, device=device, dtype=torch.float64)
    noise = torch.randn(2, noise_channels, 5, 4, generator=generator, device=device) if noise_channels else None
    expected = []
    for i in range(2):
        maps = 2 * image[i].cpu().numpy() - 1
        if noise is not None:
            maps = np.concatenate([maps, noise[i].double().cpu().numpy()])
        maps = np.maximum(slow.conv(maps, refiner.stem, padding), 0)
        for block in refiner.blocks:
            inner = np.maximum(slow.conv(maps, block.first, padding), 0)
            maps = np.maximum(maps + slow.conv(inner, block.second, padding), 0)
        expected.append((np.tanh(slow.conv(maps, refiner.head)) + 1) / 2)
    refined = refiner(image, noise)
    np.testing.assert_allclose(refined.detach().cpu().numpy(), np.stack(expected), rtol=1e-10, atol=1e-12)


def test_padding_affects_the_border_only(generator, device):
    networks = [Refiner(1, blocks=1, width=8, padding=padding).to(device).double() for padding in PADDINGS]
    for network in networks[1:]:
        network.load_state_dict(networks[0].state_dict())
    image = torch.rand(1, 1, 16, 20, generator=generator, device=device, dtype=torch.float64)
    zeros, replicate, reflect = (network(image)[0, 0] for network in networks)
    reach = networks[0].receptive_field // 2
    for one, other in ((zeros, replicate), (zeros, reflect), (replicate, reflect)):
        torch.testing.assert_close(one[reach:-reach, reach:-reach], other[reach:-reach, reach:-reach])
        differ = (one - other).abs() > 1e-9
        assert all(bool(edge.any()) for edge in (differ[0], differ[-1], differ[:, 0], differ[:, -1]))


@torch.no_grad()
def test_zero_padding_darkens_the_border_and_replicate_padding_does_not(device):
    flat = torch.full((1, 1, 9, 9), 0.9, device=device)
    zeros, replicate = (Refiner(1, blocks=1, width=8, padding=padding).to(device)(flat) for padding in PADDINGS[:2])
    assert float(zeros.amax() - zeros.amin()) > 1e-4
    assert float(replicate.amax() - replicate.amin()) < 1e-6


@torch.no_grad()
def linear(device, gain: float) -> Refiner:
    """R whose head sees ``gain * v``: a stem that copies v and -v, no blocks, a head that takes the difference."""
    refiner = Refiner(1, blocks=0, width=2).to(device).double()
    for parameter in refiner.parameters():
        parameter.zero_()
    refiner.stem.weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0])
    refiner.head.weight[0, :, 0, 0] = torch.tensor([gain, -gain])
    return refiner


def test_the_range_inside_is_minus_one_to_one(device):
    refiner, seen = linear(device, 1.0), []
    refiner.stem.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.linspace(0, 1, 21, device=device, dtype=torch.float64).view(1, 1, 3, 7)
    refined = refiner(image)
    torch.testing.assert_close(seen[0], 2 * image - 1)
    assert (float(seen[0].min()), float(seen[0].max())) == (-1.0, 1.0)
    torch.testing.assert_close(refined, (torch.tanh(2 * image - 1) + 1) / 2)


def test_the_output_covers_0_to_1_and_nothing_outside(images, device):
    refined = linear(device, 30.0)(images(2, 1, 20, 20, dtype=torch.float64)).detach()
    assert 0 <= float(refined.min()) < 1e-6
    assert 1 - 1e-6 < float(refined.max()) <= 1


def test_images_of_a_batch_do_not_mix(generator, device):
    refiner = Refiner(1, blocks=2, width=8).to(device).double()
    image = torch.rand(5, 1, 7, 6, generator=generator, device=device, dtype=torch.float64)
    torch.testing.assert_close(refiner(image)[1:3], refiner(image[1:3]))


@pytest.mark.parametrize("padding", PADDINGS)
def test_gradients_agree_with_finite_differences(padding, generator, device):
    refiner = Refiner(1, blocks=1, width=3, padding=padding, noise_channels=1).to(device).double()
    names, values = zip(*refiner.named_parameters(), strict=True)
    image = torch.rand(2, 1, 4, 3, generator=generator, device=device, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 1, 4, 3, generator=generator, device=device, dtype=torch.float64)

    def call(image, *values):
        return torch.func.functional_call(refiner, dict(zip(names, values, strict=True)), (image, noise))

    assert call(image, *values).dtype == torch.float64
    assert torch.autograd.gradcheck(call, (image, *(value.detach().requires_grad_() for value in values)))


def test_the_generator_determines_the_noise(generator, device):
    refiner = Refiner(1, blocks=1, width=8, noise_channels=2).to(device)
    image = torch.rand(3, 1, 6, 5, generator=generator, device=device)
    state = generator.get_state()
    first, second = refine(refiner, image, generator), refine(refiner, image, generator)
    generator.set_state(state)
    again = refine(refiner, image, generator)
    assert torch.equal(first, again)
    assert float((first - second).detach().abs().mean()) > 1e-3
    same = refine(refiner, image[:1].repeat(2, 1, 1, 1), generator)
    assert not torch.allclose(same[0], same[1])  # noise differs between the images of a batch


def test_noise_is_standard_normal_and_has_the_size_of_the_image(generator, device):
    class Recorder(nn.Module):
        noise_channels = 3

        def forward(self, image, noise):
            self.noise = noise
            return image

    recorder = Recorder()
    image = torch.rand(16, 1, 20, 30, generator=generator, device=device)
    assert torch.equal(refine(recorder, image, generator), image)
    assert recorder.noise.shape == (16, 3, 20, 30)
    assert recorder.noise.device.type == device.type
    assert abs(float(recorder.noise.mean())) < 0.03
    assert abs(float(recorder.noise.std()) - 1) < 0.03


def test_without_a_generator_noise_comes_from_the_global_one(device):
    refiner = Refiner(1, blocks=1, width=4, noise_channels=1).to(device)
    image = torch.full((1, 1, 5, 5), 0.5, device=device)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = refine(refiner, image, None), refine(refiner, image, None)
        torch.manual_seed(3)
        assert torch.equal(refine(refiner, image, None), first)
    assert not torch.equal(first, second)


def test_a_refiner_without_noise_does_not_advance_the_generator(generator, device):
    state = generator.get_state()
    image = torch.full((1, 1, 5, 5), 0.5, device=device)
    plain = Refiner(1, blocks=1, width=4).to(device)
    assert torch.equal(refine(plain, image, generator), plain(image))
    assert torch.equal(refine(nn.Identity(), image, generator), image)  # any module is a refiner
    assert torch.equal(generator.get_state(), state)


def test_a_wrong_number_of_noise_maps_is_refused():
    image = torch.rand(1, 1, 4, 4)
    for expected, given in ((2, None), (0, 1), (2, 3)):
        noise = None if given is None else torch.randn(1, given, 4, 4)
        with pytest.raises(ValueError, match=f"{expected} noise maps.*{given or 0}"):
            Refiner(1, blocks=1, width=2, noise_channels=expected)(image, noise)


def test_the_output_in_reduced_precision_is_float32_and_close(generator, device):
    refiner = Refiner(1, blocks=2, width=16).to(device)
    image = torch.rand(2, 1, 10, 10, generator=generator, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        reduced = refiner(image)
    assert reduced.dtype == torch.float32
    assert 0 < float((reduced - refiner(image)).detach().abs().max()) < 0.02


def test_invalid_options_are_refused():
    image = ImageSpec(channels=1, height=3, width=9)
    with pytest.raises(ValidationError, match="odd"):
        RESNET.options(kernel=4)
    with pytest.raises(UserError, match=r"reflect.*schedule\.patch.*3 px"):
        RESNET.build(RESNET.options(kernel=7, padding="reflect"), image)
    RESNET.build(RESNET.options(kernel=5, padding="reflect"), image)(torch.rand(1, 1, 3, 9))
