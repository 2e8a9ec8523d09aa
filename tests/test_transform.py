"""The trained refiner inside anybody's loop."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
from quick import fit_toy
from torch import nn

import synthreal
from synthreal.errors import UserError
from synthreal.transform import Refine, read_config, read_refiner


@pytest.fixture(scope="module")
def noisy(toy, tmp_path_factory):
    run = tmp_path_factory.mktemp("noisy") / "run"
    fit_toy(toy, run, "refiner.options.noise_channels=2")
    return run


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the run that may be damaged."""
    return shutil.copytree(toy_run, tmp_path / "copy")


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


@pytest.mark.parametrize("size", [1, 3, 100])
def test_micro_batches_give_the_same_images(noisy, size):
    x, refine = images(7, 1, 12, 16), Refine.load(noisy, generator=torch.Generator())
    found = []
    for refine.micro_batch in (None, size):
        refine.generator.manual_seed(1)
        found.append(refine(x))
    torch.testing.assert_close(found[1], found[0], atol=2e-6, rtol=0)
    seen = []
    refine.refiner.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    refine(x)
    assert max(seen) == min(size, 7) and sum(seen) == 7


def test_load_takes_micro_batches_and_layout_from_the_run(toy_run, copy):
    assert Refine.load(toy_run).micro_batch == "auto"
    config = (copy / "config.toml").read_text()
    changed = config.replace('micro_batch = "auto"', "micro_batch = 5").replace("channels_last", "channels_first")
    (copy / "config.toml").write_text(changed)
    refine = Refine.load(copy)
    assert refine.micro_batch == 5
    maps = [Refine.load(run).refiner.stem(images(2, 1, 12, 16)) for run in (toy_run, copy)]
    assert [m.is_contiguous(memory_format=torch.channels_last) for m in maps] == [True, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_of_the_images_is_kept(toy_run, dtype):
    refine = Refine.load(toy_run)
    x = images(2, 1, 12, 16)
    y = refine(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), refine(x), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    "image",
    [
        images(12, 16),
        images(3, 12, 16),
        images(2, 3, 12, 16),
        images(1, 1, 1, 12, 16),
        torch.zeros(2, 1, 12, 16, dtype=torch.uint8),
        torch.zeros(1, 12, 16, dtype=torch.int64),
    ],
)
def test_what_is_no_image_of_the_domain_is_told_what_is(toy_run, image):
    with pytest.raises(UserError, match=r"takes float images \(1, H, W\) or \(B, 1, H, W\) in \[0, 1\], given torch"):
        Refine.load(toy_run)(image)


def test_it_stays_in_eval_and_builds_no_graph(toy_run):
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


def test_noise_comes_from_the_generator(noisy):
    x = images(3, 1, 12, 16)

    def drawn(seed):
        return Refine.load(noisy, generator=torch.Generator().manual_seed(seed))(x)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    refine = Refine.load(noisy)
    assert not torch.equal(refine(x), refine(x))
    torch.manual_seed(5)
    first = refine(x)
    torch.manual_seed(5)
    assert torch.equal(refine(x), first)


def test_precision_is_the_runs_unless_asked_for(toy_run):
    x = images(2, 1, 12, 16)
    assert torch.equal(Refine.load(toy_run)(x), Refine.load(toy_run, precision="float32")(x))
    half = Refine.load(toy_run, precision="bfloat16")(x)
    assert half.dtype == torch.float32
    assert 0 < (half - Refine.load(toy_run)(x)).abs().max() < 0.05
    with pytest.raises(UserError, match="cuda:63"):
        Refine.load(toy_run, device="cuda:63")


def test_no_plugin_is_needed_for_the_cores_own_refiner(copy, tmp_path):
    text = (copy / "config.toml").read_text()
    (tmp_path / "gone.py").touch()
    plugin = tomllib.loads(text)["plugins"][0]
    (copy / "config.toml").write_text(text.replace(plugin, "/nowhere/domain.py"))
    assert Refine.load(copy)(images(1, 12, 16)).shape == (1, 12, 16)


def test_a_plugins_own_refiner_comes_from_the_plugin(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "refiner=tint")
    refine = Refine.load(tmp_path / "run")
    assert type(refine.refiner).__name__ == "Tint"
    x = images(2, 1, 12, 16)
    level, contrast = refine.refiner.tone
    torch.testing.assert_close(refine(x), level + contrast * x)


def test_loading_imports_no_domain_and_unpickles_nothing(copy):
    script = f"""
import sys, pickle, torch
pickle.load = pickle.loads = pickle.Unpickler = None
import synthreal
y = synthreal.Refine.load({str(copy)!r})(torch.rand(2, 1, 12, 16))
assert y.shape == (2, 1, 12, 16)
assert not [name for name in sys.modules if name.startswith("synthreal_") or "albumentations" in name]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_metadata(toy_run):
    refiner = Refine.load(toy_run).refiner
    metadata = read_refiner(toy_run, refiner)
    assert (metadata["step"], metadata["kind"]) == ("11", "ema")


@pytest.mark.parametrize("keep", [0, 4, 100, -40])
def test_truncated_weights_are_refused(copy, keep):
    path = copy / "refiner.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"refiner\.safetensors: not a whole safetensors file .*; restore it or fit"):
        Refine.load(copy)


def test_weights_of_another_network_are_refused(copy):
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("width = 4", "width = 5"))
    with pytest.raises(UserError, match=r"refiner\.safetensors: weights of another network than config\.toml") as error:
        Refine.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("x = ", r"config\.toml: not TOML"),
        ("", r"config\.toml: data: missing"),
        ("[data]\nsimulated = 'a'\nreal = 'b'\n", r"config\.toml: image is none; it must say what"),
        ("\x00", r"config\.toml: not TOML"),
    ],
)
def test_a_damaged_configuration_is_named(copy, damage, message):
    (copy / "config.toml").write_text(damage)
    with pytest.raises(UserError, match=message):
        Refine.load(copy)


def test_a_folder_without_a_run_is_named(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="holds no run"):
            Refine.load(folder)


def test_the_stored_configuration_is_the_resolved_one(toy_run):
    config = read_config(toy_run)
    assert config.refiner.options == {
        "kernel": 3, "blocks": 1, "width": 4, "padding": "replicate", "noise_channels": 0, "keep_background": False,
    }  # fmt: skip
    assert config.image.shape == (1, 12, 16)
    assert config.recipe == "toy"
