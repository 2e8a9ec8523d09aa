"""The trained refiner as a module in a user's training loop."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import synthreal
from synthreal.core.refiner import Refiner
from synthreal.data.encoding import from_unit, to_unit
from synthreal.errors import UserError
from synthreal.inference.transform import Refine

OPEN = torch.export.Dim.DYNAMIC


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_batches_and_single_images_of_any_size(toy_run):
    refine = synthreal.Refine.load(toy_run)
    x = images(5, 1, 12, 16)
    y = refine(x)
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert 0 <= y.min() and y.max() <= 1 and (y - x).abs().mean() > 0.01
    torch.testing.assert_close(refine(x[3]), y[3], atol=1e-5, rtol=0)
    assert refine(images(2, 1, 35, 55)).shape == (2, 1, 35, 55)
    assert refine(images(1, 3, 3)).shape == (1, 3, 3)
    assert refine(images(0, 1, 12, 16)).shape == (0, 1, 12, 16)


def test_micro_batches_give_the_same_images(noisy_run):
    size = 3
    x, refine = images(7, 1, 12, 16), Refine.load(noisy_run, generator=torch.Generator())
    outputs = []
    for refine.micro_batch in (None, size):
        refine.generator.manual_seed(1)
        outputs.append(refine(x))
    torch.testing.assert_close(outputs[1], outputs[0], atol=2e-6, rtol=0)
    seen = []
    refine.refiner.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    refine(x)
    assert max(seen) == min(size, 7) and sum(seen) == 7


def test_load_takes_micro_batches_and_layout_from_the_run(toy_run, tmp_path):
    copy = shutil.copytree(toy_run, tmp_path / "copy")
    assert Refine.load(toy_run).micro_batch == "auto"
    config = (copy / "config.toml").read_text()
    changed = config.replace('micro_batch = "auto"', "micro_batch = 5").replace("channels_last", "channels_first")
    (copy / "config.toml").write_text(changed)
    refine = Refine.load(copy)
    assert refine.micro_batch == 5
    maps = [Refine.load(run).refiner.stem(images(2, 1, 12, 16)) for run in (toy_run, copy)]
    assert [m.is_contiguous(memory_format=torch.channels_last) for m in maps] == [True, False]


def test_the_dtype_of_the_images_is_preserved(toy_run):
    refine = Refine.load(toy_run)
    x = images(2, 1, 12, 16)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        y = refine(x.to(dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), refine(x), atol=0.02, rtol=0)


def test_other_shapes_dtypes_and_types_are_refused(toy_run):
    refine = Refine.load(toy_run)
    for image in (
        images(12, 16),
        images(3, 12, 16),
        images(2, 3, 12, 16),
        images(1, 1, 1, 12, 16),
        torch.zeros(1, 12, 16, dtype=torch.int64),
        torch.zeros(1, 1, 12, 16, dtype=torch.bool),
    ):
        with pytest.raises(UserError, match=r"\(1, H, W\) or \(B, 1, H, W\).*given") as error:
            refine(image)
        assert str(tuple(image.shape)) in str(error.value) and str(image.dtype) in str(error.value)
    with pytest.raises(UserError, match=r"ndarray.*torch\.as_tensor\(image\)"):
        refine(images(1, 12, 16).numpy())


def test_it_stays_in_eval_mode_and_builds_no_graph(toy_run):
    refine = Refine.load(toy_run)
    model = nn.Sequential(refine, nn.Conv2d(1, 1, 3))
    model.train()
    assert not any(module.training for module in refine.modules())
    assert model[1].training
    refine.train(True)
    assert not refine.training
    x = images(2, 1, 12, 16).requires_grad_()
    assert not refine(x).requires_grad
    assert not any(parameter.requires_grad for parameter in refine.parameters())
    before = {name: value.clone() for name, value in refine.state_dict().items()}
    model(x).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in refine.state_dict().items())


def test_noise_comes_from_the_generator(noisy_run):
    x = images(3, 1, 12, 16)

    def drawn(seed):
        return Refine.load(noisy_run, generator=torch.Generator().manual_seed(seed))(x)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    refine = Refine.load(noisy_run)
    assert not torch.equal(refine(x), refine(x))
    torch.manual_seed(5)
    first = refine(x)
    torch.manual_seed(5)
    assert torch.equal(refine(x), first)


def test_precision_is_that_of_the_run_unless_given(toy_run):
    x = images(2, 1, 12, 16)
    assert torch.equal(Refine.load(toy_run)(x), Refine.load(toy_run, precision="float32")(x))
    half = Refine.load(toy_run, precision="bfloat16")(x)
    assert half.dtype == torch.float32
    assert 0 < (half - Refine.load(toy_run)(x)).abs().max() < 0.05
    with pytest.raises(UserError, match="cuda:63"):
        Refine.load(toy_run, device="cuda:63")


def fresh(**options):
    """A refiner with random weights, for the same images every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Refiner(3, width=4, blocks=1, **options.pop("network", {}))
    return Refine(network, channels=3, **options)


def test_uint8_images_are_returned_as_uint8(toy_run):
    refine = Refine.load(toy_run, range=(-1, 1))  # the range applies to floats only
    stored = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    y = refine(stored)
    assert y.dtype == torch.uint8
    assert torch.equal(y, from_unit(Refine.load(toy_run)(to_unit(stored)), "uint8"))
    assert torch.equal(refine(stored[0]), y[0])


def test_the_declared_range_applies_to_input_and_output(toy_run):
    x, low, high = images(3, 1, 12, 16), -1, 255
    refine = Refine.load(toy_run, range=(low, high))
    expected = low + (high - low) * Refine.load(toy_run)(x)
    actual = refine(low + (high - low) * x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6 * (high - low))
    assert not torch.allclose(actual, Refine.load(toy_run)(x), atol=0.01)


def test_values_far_outside_the_range_are_refused(toy_run):
    refine, signed = Refine.load(toy_run), Refine.load(toy_run, range=(-1, 1))
    x = images(2, 1, 12, 16)
    for _ in range(2):  # on the CPU in every batch
        with pytest.raises(UserError, match=r"to 25[45]\S* are not in \[0, 1\]"):
            refine(255 * x)
        with pytest.raises(UserError, match=r"from -\d\S* to \S+ are not in \[-1, 1\]"):
            signed(6 * x - 3)
        with pytest.raises(UserError, match="NaN"):
            refine(x.where(x > 0.1, torch.nan))
        assert refine(1.4 * x - 0.2).shape == x.shape  # overshoot of resampling and noise
    with pytest.raises(UserError, match=r"values from -1 "):
        refine(2 * (x - x.amin()) / (x.amax() - x.amin()) - 1)


@pytest.mark.gpu
@pytest.mark.parametrize("versions", [False, True])
def test_the_device_is_synchronised_for_the_first_batch_only(toy_run, versions):
    x = images(20, 1, 12, 16).cuda()
    refine = Refine.load(toy_run, device="cuda", versions=versions)
    with pytest.raises(UserError, match="not in"):
        refine(255 * x)
    refine(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        refine(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_invalid_options_are_named_with_their_value(toy_run):
    for option, value in (
        ("p", 1.5),
        ("p", "0.5"),
        ("range", (1, 0)),
        ("range", 255),
        ("range", (-1, 0, 1)),
        ("range", ("0", 1)),
        ("generator", 0),
        ("precision", "fp16"),
    ):
        with pytest.raises(UserError, match=option) as error:
            Refine.load(toy_run, **{option: value})
        assert repr(value) in str(error.value)


def counted(refine):
    """The sizes of the batches that reach the network."""
    seen = []
    refine.refiner.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    return seen


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_p_refines_a_share_and_leaves_the_rest_bit_identical(noisy_run, dtype):
    x = (255 * images(200, 1, 12, 16)).to(torch.uint8) if dtype == torch.uint8 else images(200, 1, 12, 16).to(dtype)
    refine = Refine.load(noisy_run, p=0.3, generator=torch.Generator().manual_seed(3))
    seen = counted(refine)
    y = refine(x)
    same = (y == x).flatten(1).all(1)
    assert 30 < 200 - int(same.sum()) < 90
    assert sum(seen) == 200 - int(same.sum())  # only these reach the network
    again = Refine.load(noisy_run, p=0.3, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again(x), y) and not torch.equal(again(x), y)
    assert torch.equal(x, (255 * images(200, 1, 12, 16)).to(dtype) if dtype == torch.uint8 else images(200, 1, 12, 16))


def test_p_selects_the_rows_of_given_noise(noisy_run):
    x, noise = images(9, 1, 12, 16), torch.randn(9, 2, 12, 16, generator=torch.Generator().manual_seed(1))
    every = Refine.load(noisy_run)(x, noise)
    some = Refine.load(noisy_run, p=0.5, generator=torch.Generator().manual_seed(0))(x, noise)
    same = (some == x).flatten(1).all(1)
    assert 0 < same.sum() < 9
    torch.testing.assert_close(some[~same], every[~same], atol=1e-6, rtol=0)
    torch.testing.assert_close(Refine.load(noisy_run)(x[0], noise[0]), every[0], atol=1e-6, rtol=0)


def test_p_applies_to_single_images_and_may_be_0_or_1(toy_run):
    x = images(1, 12, 16)
    refine = Refine.load(toy_run, p=0.5, generator=torch.Generator().manual_seed(0))
    refined = [not torch.equal(refine(x), x) for _ in range(40)]
    assert 8 < sum(refined) < 32
    never, always = Refine.load(toy_run, p=0), Refine.load(toy_run, p=1, generator=torch.Generator().manual_seed(0))
    seen = counted(never)
    y = never(images(50, 1, 12, 16))
    assert torch.equal(y, images(50, 1, 12, 16)) and seen == []
    y.zero_()  # the result is a copy, also where nothing is refined
    state = always.generator.get_state()
    assert not torch.equal(always(x), x) and torch.equal(always.generator.get_state(), state)
    torch.manual_seed(4)
    first = Refine.load(toy_run, p=0.5)(images(20, 1, 12, 16))
    torch.manual_seed(4)
    assert torch.equal(Refine.load(toy_run, p=0.5)(images(20, 1, 12, 16)), first)


def versioned(run, seed=0, **options):
    return Refine.load(run, versions=True, generator=torch.Generator().manual_seed(seed), **options)


def versions_and_styles(found, refined, about):
    """For each image the version and the real image whose style gives it."""
    styles, places = about.styles, [(0, 0)] + [(version, real) for version in (1, 2) for real in range(30)]
    assert len(styles) == 30
    blend, rows = about.config.evaluation.histogram.blend, torch.ones(len(refined), dtype=torch.int64)
    wanted = torch.stack([styles.adapt(refined, real * rows, version, blend=blend) for version, real in places])
    distance, place = (wanted - found).abs().amax((2, 3, 4)).min(0)
    assert distance.max() < 1e-5
    return [places[i] for i in place]


def test_each_refined_image_becomes_one_of_three_versions(toy_run):
    x, refine, plain = images(90, 1, 12, 16), versioned(toy_run), Refine.load(toy_run)
    y = refine(x)
    found = versions_and_styles(y, plain(x), plain.about)
    assert all(18 < sum(version == wanted for version, _ in found) < 42 for wanted in range(3))
    assert len({real for version, real in found if version}) > 15
    again = versioned(toy_run)
    assert torch.equal(again(x), y) and not torch.equal(again(x), y)
    assert not torch.equal(versioned(toy_run, seed=1)(x), y)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(Refine.load(toy_run, versions=True)(x))
    assert torch.equal(*drawn)
    assert refine(images(0, 1, 12, 16)).shape == (0, 1, 12, 16) and refine(images(3, 1, 40, 9)).shape == (3, 1, 40, 9)


def test_versions_of_single_images_other_dtypes_and_ranges(toy_run):
    x = images(30, 1, 12, 16)
    y, stored = versioned(toy_run)(x), (255 * x).to(torch.uint8)
    assert torch.equal(versioned(toy_run)(x[0]), versioned(toy_run)(x[:1])[0])
    assert torch.equal(versioned(toy_run)(stored), from_unit(versioned(toy_run)(to_unit(stored)), "uint8"))
    signed = versioned(toy_run, range=(-1, 1))(2 * x - 1)
    torch.testing.assert_close((signed + 1) / 2, y, atol=1e-5, rtol=0)
    half = versioned(toy_run)(x.half())
    assert half.dtype == torch.float16 and half.float().sub(y).abs().mean() < 0.01


def test_p_comes_before_versions(toy_run):
    x, refine, plain = images(90, 1, 12, 16), versioned(toy_run, p=0.5), Refine.load(toy_run)
    y = refine(x)
    same = (y == x).flatten(1).all(1)
    assert 25 < same.sum() < 65
    assert {version for version, _ in versions_and_styles(y[~same], plain(x)[~same], plain.about)} == {0, 1, 2}
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(90, generator=generator) < 0.5  # the first number drawn, as without versions
    assert torch.equal(same, ~chosen)


def test_versions_have_gradients(toy_run):
    x, inputs, gradients = images(30, 1, 12, 16), [], []
    for refine in (versioned(toy_run, grad=True), Refine.load(toy_run, grad=True)):
        inputs.append(x.clone().requires_grad_())
        y = refine(inputs[-1])
        (gradient,) = torch.autograd.grad((y * x).sum(), inputs[-1])
        gradients.append((y.detach(), gradient))
    (y, gradient), (refined, plain) = gradients
    version = torch.tensor([found for found, _ in versions_and_styles(y, refined, refine.about)])
    torch.testing.assert_close(gradient[version == 0], plain[version == 0])
    assert gradient.isfinite().all() and (gradient[version == 1] != 0).flatten(1).any(1).all()
    assert not gradient[version == 2].any()  # blend is 1


def test_styles_follow_the_refiner_and_are_no_part_of_its_state(toy_run):
    x, refine, plain = images(9, 1, 12, 16), versioned(toy_run), Refine.load(toy_run)
    assert list(refine.state_dict()) == list(plain.state_dict())
    expected = versioned(toy_run)(x)
    for other in (copy.deepcopy(refine), pickle.loads(pickle.dumps(refine)), nn.Sequential(refine).half()):
        assert torch.equal(other(x), expected)
    assert {tensor.device.type for tensor in refine.to("meta").buffers()} == {"meta"} and not list(plain.buffers())


def test_versions_need_the_styles_of_a_run(toy_run, tmp_path):
    run = shutil.copytree(toy_run, tmp_path / "older")
    (run / "styles.safetensors").unlink()
    assert Refine.load(run).versions is False
    with pytest.raises(UserError, match=r"older/styles\.safetensors: missing.*--resume"):
        Refine.load(run, versions=True)
    with pytest.raises(UserError, match="bare network"):
        fresh(versions=True)


def test_grad_returns_the_gradient_of_the_image(toy_run):
    refine = Refine.load(toy_run, grad=True, range=(-1, 1))
    x = (2 * images(2, 1, 12, 16) - 1).requires_grad_()
    toward = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((refine(x) * toward).sum(), x)
    network = copy.deepcopy(refine.refiner).double()
    unit = x.detach().double() / 2 + 0.5
    step = 1e-5
    for place in [(0, 0, 3, 4), (1, 0, 11, 0), (0, 0, 6, 15)]:  # finite differences in float64
        moved = [unit.clone(), unit.clone()]
        for image, sign in zip(moved, (1, -1), strict=True):
            image[place] += sign * step / 2
        ends = [((2 * network(image) - 1) * toward).sum() for image in moved]
        assert float(gradient[place]) == pytest.approx(float((ends[0] - ends[1]) / (2 * step)), rel=1e-3, abs=1e-5)
    assert all(weight.grad is None and not weight.requires_grad for weight in refine.parameters())
    some = Refine.load(toy_run, grad=True, p=0.5, generator=torch.Generator().manual_seed(0))
    x = images(8, 1, 12, 16).requires_grad_()
    y = some(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    plain = (y == x).flatten(1).all(1)
    assert 0 < plain.sum() < 8 and (gradient[plain] == 1).all() and not (gradient[~plain] == 1).all()
    with torch.no_grad():
        assert not refine(x).requires_grad
    assert not Refine.load(toy_run)(x).requires_grad


def test_images_refined_in_inference_mode_can_be_trained_on(toy_run):
    refine, layer = Refine.load(toy_run), nn.Conv2d(1, 1, 3)
    for p in (1.0, 0.5, 0.0):
        refine.p = p
        with torch.inference_mode():
            y = refine(images(4, 1, 12, 16))
        assert not y.is_inference() and not y.requires_grad
        layer(y).sum().backward()  # "Inference tensors cannot be saved for backward" otherwise


def test_the_memory_format_of_the_image_is_preserved():
    refine = fresh()
    x = images(2, 3, 12, 16)
    assert refine(x).is_contiguous()
    last = refine(x.to(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()
    torch.testing.assert_close(last, refine(x), atol=1e-6, rtol=0)
    assert refine(x[0]).is_contiguous()
    refine.refiner.to(memory_format=torch.channels_last)
    assert refine(x).is_contiguous()
    assert refine(x[:, :, ::2]).is_contiguous()


def test_the_parameters_are_not_trainable_in_a_parent_module(toy_run):
    model = nn.Sequential(Refine.load(toy_run), nn.Conv2d(1, 2, 3))
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trainable == ["1.weight", "1.bias"]


@pytest.mark.parametrize("grad", [False, True])
def test_no_optimizer_changes_its_weights_even_if_a_parent_unfreezes_them(toy_run, grad):
    model = nn.Sequential(Refine.load(toy_run, grad=grad), nn.Conv2d(1, 2, 3)).requires_grad_(True)
    before = {name: value.clone() for name, value in model[0].state_dict().items()}
    optimizer, x = torch.optim.AdamW(model.parameters(), 0.1), images(2, 1, 12, 16).requires_grad_()
    assert model[0](x).requires_grad is grad
    model(x).sum().backward()
    optimizer.step()
    assert (x.grad is not None) is grad
    assert [name for name, weight in model.named_parameters() if weight.grad is not None] == ["1.weight", "1.bias"]
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())


def test_an_initialisation_of_the_parent_does_not_change_its_weights(toy_run):
    def initialize(module):
        seen.append(module)
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)

    model, x, seen = nn.Sequential(Refine.load(toy_run), nn.Conv2d(1, 2, 3)), images(2, 1, 12, 16), []
    expected = model[0](x)
    assert model.apply(initialize) is model and seen == [model[0], model[1], model]
    assert torch.equal(model[0](x), expected) and not model[1].weight.any()


def test_its_weights_are_part_of_the_state_of_the_parent(toy_run):
    model, stored = nn.Sequential(Refine.load(toy_run)), load_file(toy_run / "refiner.safetensors")
    assert {f"0.refiner.{name}" for name in stored} == set(model.state_dict())
    model.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    torch.testing.assert_close(model(images(2, 1, 12, 16)), torch.full((2, 1, 12, 16), 0.5))


def test_a_dtype_change_of_the_parent_does_not_change_its_dtype(toy_run):
    x = images(2, 1, 12, 16)
    expected = Refine.load(toy_run)(x)
    model = nn.Sequential(Refine.load(toy_run), nn.Conv2d(1, 2, 3))
    for change in ("half", "double", "bfloat16", "float"):
        getattr(model, change)()
        assert torch.equal(model[0](x), expected)
    model.to("cpu", torch.float64)
    assert torch.equal(model[0](x), expected)
    assert model[1].weight.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model[0](x), expected)
    assert next(model.to("meta").parameters()).device.type == "meta"


def test_images_on_another_device_are_refused_with_both_devices(toy_run):
    refine = Refine.load(toy_run).to("meta")
    with pytest.raises(UserError, match=r"cpu.*meta.*\.to\(device\)"):
        refine(images(1, 12, 16))


def test_images_too_small_for_reflect_padding_are_refused():
    refine = fresh(network={"padding": "reflect", "kernel": 7})
    assert refine(images(3, 4, 4)).shape == (3, 4, 4)
    with pytest.raises(UserError, match=r"4 px.*\(3, 3, 9\)"):
        refine(images(3, 3, 9))
    with pytest.raises(UserError, match="1 px"):
        fresh()(images(3, 0, 9))


def test_copies_continue_from_the_state_of_the_generator(noisy_run):
    refine = Refine.load(noisy_run, p=0.8, generator=torch.Generator().manual_seed(7))
    x = images(5, 1, 12, 16)
    for make_copy in (lambda refine: pickle.loads(pickle.dumps(refine)), copy.deepcopy):
        refine(x)
        other = make_copy(refine)
        first = refine(x)
        assert torch.equal(other(x), first)
        assert not torch.equal(other(x), first) and other.generator is not refine.generator
        assert other.generator.initial_seed() == 7
        assert other.about == refine.about and not other.training


def test_the_representation_shows_the_options(toy_run):
    assert "channels=1, p=0.5, range=[-1, 1], grad=False" in repr(Refine.load(toy_run, p=0.5, range=(-1, 1)))


class Drawn(torch.utils.data.Dataset):
    """The same image at every index, refined in the worker."""

    def __init__(self, refine):
        self.refine = refine

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return self.refine(images(1, 12, 16))


def epoch(refine, context, seed=0):
    loader = torch.utils.data.DataLoader(
        Drawn(refine), 2, num_workers=2, multiprocessing_context=context, generator=torch.Generator().manual_seed(seed)
    )
    return torch.cat(list(loader))


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_data_loader_workers_draw_different_noise(noisy_run, context):
    refine = Refine.load(noisy_run, generator=torch.Generator().manual_seed(7))
    drawn = epoch(refine, context)
    assert drawn.shape == (12, 1, 12, 16)
    assert (
        len({image.numpy().tobytes() for image in drawn}) == 12
    )  # copies of one generator would give 6 different images
    assert torch.equal(epoch(refine, context), drawn)
    assert not torch.equal(epoch(refine, context, seed=1), drawn)  # another epoch
    refine.generator.manual_seed(8)
    assert not torch.equal(epoch(refine, context), drawn)


def test_data_loader_workers_draw_different_versions(toy_run):
    refine = versioned(toy_run)
    drawn = epoch(refine, "fork")
    assert not torch.equal(drawn[::4], drawn[2::4])  # the first images of the two workers' batches
    assert torch.equal(epoch(refine, "fork"), drawn) and not torch.equal(epoch(refine, "fork", seed=1), drawn)


def test_a_refiner_on_a_gpu_is_refused_in_a_worker(toy_run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("synthreal.inference.transform_input.get_worker_info", lambda: object())
        with pytest.raises(UserError, match="DataLoader worker has no GPU"):
            Refine.load(toy_run).to("meta")(images(1, 12, 16))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    for device in ("auto", "cuda:0"):
        with pytest.raises(UserError, match=r"cuda\S* .*forked process"):
            Refine.load(toy_run, device=device)
    assert Refine.load(toy_run, device="cpu").p == 1


def test_noise_of_another_shape_or_device_is_refused_with_the_expected_shape(noisy_run, toy_run):
    refine = Refine.load(noisy_run)
    for noise in (torch.zeros(3, 1, 12, 16), torch.zeros(2, 2, 12, 16), torch.zeros(3, 2, 12, 15), torch.zeros(12, 16)):
        with pytest.raises(UserError, match=r"noise \(3, 2, 12, 16\) on cpu.*given \("):
            refine(images(3, 1, 12, 16), noise)
    for noise in (np.zeros((3, 2, 12, 16)), torch.zeros(3, 2, 12, 16, device="meta")):
        with pytest.raises(UserError, match=r"given (ndarray|\(3, 2, 12, 16\) on meta)$"):
            refine(images(3, 1, 12, 16), noise)
    with pytest.raises(UserError, match=r"noise \(0, 12, 16\) on cpu"):
        Refine.load(toy_run)(images(1, 12, 16), torch.zeros(1, 12, 16))


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.uint8, marks=pytest.mark.slow)])
def test_an_exported_program_accepts_any_size(noisy_run, dtype):
    refine = Refine.load(noisy_run, range=(-1, 1))
    open_sizes = {0: OPEN, 2: OPEN, 3: OPEN}

    def given(*shape):
        x = images(shape[0], 1, *shape[1:])
        return (255 * x).to(dtype) if dtype == torch.uint8 else 2 * x - 1, torch.randn(shape[0], 2, *shape[1:])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of torch
        program = torch.export.export(refine, given(3, 12, 16), dynamic_shapes=(open_sizes, open_sizes)).module()
    for shape in ((2, 17, 9), (5, 30, 40)):
        x, noise = given(*shape)
        tolerance = 1 if dtype == torch.uint8 else 1e-6
        torch.testing.assert_close(program(x, noise), refine(x, noise), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    "grad, strict, precision",
    [
        (False, False, "float32"),
        (True, False, "float32"),
        pytest.param(False, True, "bfloat16", marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(torch.__version__ < (2, 7), reason="torch 2.6 saves no program with open sizes and autocast")
@pytest.mark.filterwarnings("ignore")  # warnings of torch
def test_an_exported_program_can_be_saved_draws_noise_and_respects_grad(noisy_run, grad, strict, precision):
    refine, sizes = Refine.load(noisy_run, grad=grad, precision=precision), {0: OPEN, 2: OPEN, 3: OPEN}
    program = torch.export.export(refine, (images(3, 1, 12, 16),), dynamic_shapes=(sizes,), strict=strict)
    x, file = images(2, 1, 17, 9).requires_grad_(), io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded, outputs = torch.export.load(file).module(), []
    assert program.module()(x).requires_grad is loaded(x).requires_grad is grad
    for one in (loaded, refine, loaded):
        torch.manual_seed(0)
        outputs.append(one(x).detach())
    assert torch.equal(outputs[0], outputs[2]) and not torch.equal(loaded(x), outputs[0])
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
def test_a_compiled_refiner_draws_from_the_global_generator_at_any_size():
    for options in ({}, {"p": 0.5}):
        torch._dynamo.reset()
        plain = fresh(network={"noise_channels": 1}, **options)
        whole = torch.compile(copy.deepcopy(plain), backend="eager", fullgraph=plain.p == 1)
        for count, height, width in ((3, 12, 16), (40, 20, 9), (50, 7, 7)):  # sizes become symbols at the second shape
            x, outputs = images(count, 3, height, width), []
            for one in (whole, plain):
                torch.manual_seed(0)
                outputs.append(one(x))
            torch.testing.assert_close(*outputs, atol=1e-6, rtol=0)
            assert not torch.equal(whole(x), outputs[0])


@pytest.mark.parametrize(("setting", "value", "named"), [("p", 0.5, r"p is 0\.5"), ("versions", True, "versions True")])
def test_what_draws_cannot_be_exported(toy_run, setting, value, named):
    with pytest.raises(UserError, match=f"{named}.*exported"):
        torch.export.export(Refine.load(toy_run, **{setting: value}), (images(2, 1, 12, 16),), strict=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
@pytest.mark.parametrize("options", [{"range": (-1, 1)}, {"grad": True}], ids=str)
def test_torch_compile_makes_one_graph(options):
    plain = fresh(generator=torch.Generator().manual_seed(0), network={"noise_channels": 1}, **options)
    whole = torch.compile(copy.deepcopy(plain), fullgraph=plain.p == 1)  # drawing from a generator causes a graph break
    for shape in ((3, 3, 12, 16), (5, 3, 20, 9)):
        x, noise = images(*shape).requires_grad_(), torch.randn(shape[0], 1, *shape[2:])
        actual, expected = whole(x, noise), plain(x, noise)
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
        if plain.grad:
            gradients = [torch.autograd.grad(one.square().sum(), x)[0] for one in (actual, expected)]
            torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
def test_the_compile_option_applies_to_the_refiner_and_its_copies(toy_run):
    plain, refine = Refine.load(toy_run), Refine.load(toy_run, compile=True)
    assert plain.refiner._compiled_call_impl is None
    for one in (refine, copy.deepcopy(refine), pickle.loads(pickle.dumps(refine))):
        assert one.refiner._compiled_call_impl is not None
    assert list(refine.state_dict()) == list(plain.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of the compiler
def test_a_compiled_refiner_computes_the_same_at_every_size(toy_run):
    plain, refine = Refine.load(toy_run), Refine.load(toy_run, compile=True)
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    for shape in ((3, 1, 12, 16), (5, 1, 20, 16), (7, 1, 9, 30), (2, 1, 11, 11)):
        torch.testing.assert_close(refine(images(*shape)), plain(images(*shape)), atol=1e-5, rtol=0)
    assert 0 < counters["unique_graphs"] - before <= 3  # sizes become symbols instead of further programs


def test_loading_does_not_advance_the_global_generator(toy_run):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    Refine.load(toy_run, device="cpu")
    assert torch.equal(torch.rand(3), wanted)


def test_the_default_dtype_of_torch_has_no_effect(noisy_run):
    x, noise = images(3, 1, 12, 16), torch.randn(3, 2, 12, 16)
    expected = Refine.load(noisy_run)(x, noise)
    torch.set_default_dtype(torch.float64)
    try:
        refine = Refine.load(noisy_run, p=0.5)
        assert refine(x).dtype == torch.float32
        refine.p = 1
        actual = refine(x, noise)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(actual, expected)


def test_loading_ignores_the_default_device_and_inference_mode(toy_run):
    with torch.inference_mode(), torch.device("meta"):
        refine = Refine.load(toy_run, device="cpu", grad=True)
    x = images(2, 1, 12, 16).requires_grad_()
    refine(x).sum().backward()  # "Inference tensors cannot be saved for backward" otherwise
    assert x.grad.abs().sum() > 0


def test_noise_is_a_function_of_seed_version_index_and_pixel():
    refine = Refine(Refiner(1, blocks=1, width=4, noise_channels=2), channels=1)
    assert refine.noise_channels == 2
    maps = refine.noise_of(torch.tensor([5, 2]), (12, 16), seed=7)
    assert maps.shape == (2, 2, 12, 16)
    assert torch.equal(refine.noise_of(torch.tensor([2]), (12, 16), seed=7), maps[1:])
    window = (slice(3, 8), slice(2, 9))
    assert torch.equal(refine.noise_of(torch.tensor([5, 2]), (12, 16), seed=7, window=window), maps[:, :, 3:8, 2:9])
    for change in ({"seed": 8}, {"seed": 7, "version": 1}):
        assert not torch.equal(refine.noise_of(torch.tensor([5, 2]), (12, 16), **change), maps)
    assert Refine(Refiner(1, blocks=1, width=4), channels=1).noise_of(torch.tensor([5]), (12, 16), seed=7) is None
