"""ONNX against onnxruntime: each padding, noise maps, preserved pixels, other sizes."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from quick import files, fit_toy

from synthreal.adapters import onnx as onnx_adapter
from synthreal.adapters.onnx import export_onnx
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.inference.pretrained import read_config, write_config, write_refiner
from synthreal.inference.transform import Refine

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def variant(run, folder, *, background=None, **options):
    """A run's folder whose refiner has other options and random weights."""
    config = read_config(run).changed(
        {"refiner": {"options": {**options, "keep_background": background is not None}}},
        {"image": {"background": background}},
    )
    folder.mkdir()
    write_config(folder, config, {})
    torch.manual_seed(0)
    network = Catalog.of(()).build_network("refiner", config.refiner, config.image)
    write_refiner(folder, network, step=1, kind="raw")
    return folder


def computed(path, *given):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (tensor.numpy() for tensor in given), strict=True)))
    return torch.from_numpy(found)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"padding": "zeros", "kernel": 5}, marks=pytest.mark.slow),
        pytest.param({"padding": "replicate", "noise_channels": 2}, marks=pytest.mark.slow),
        {"padding": "reflect", "kernel": 7, "noise_channels": 1, "background": 0.501},
    ],
    ids=lambda options: options["padding"],
)
def test_onnxruntime_computes_the_same_at_any_size(toy_run, tmp_path, options):
    run, target = variant(toy_run, tmp_path / "run", **options), tmp_path / "out.onnx"
    done = export_onnx(run, target)
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    k = options.get("noise_channels", 0)
    names = ["image", "noise"] if k else ["image"]
    assert [entry.name for entry in model.graph.input] == list(done.inputs) == names
    assert [entry.name for entry in model.graph.output] == ["refined"]
    assert done.path == target and 0 <= done.difference < 1e-4
    assert files(tmp_path) == ["out.onnx", "run/config.toml", "run/refiner.safetensors"]  # weights inside
    refine = Refine.load(run, precision="float32")
    for b, h, w in ((1, 35, 9), (4, 12, 16), (2, 5, 41)):
        x = torch.rand(b, 1, h, w)
        if "background" in options:
            x[..., :3, :] = round(255 * options["background"]) / 255
        given = (x, torch.randn(b, k, h, w)) if k else (x,)
        found = computed(target, *given)
        torch.testing.assert_close(found, refine(*given), atol=1e-4, rtol=0)
        if "background" in options:
            assert torch.equal(found[..., :3, :], x[..., :3, :])
        if k:
            assert (computed(target, x, given[1] + 1) - found).abs().max() > 1e-4


def test_large_images_are_tested_at_a_smaller_size(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_adapter, "LARGEST", 24)
    run, sizes = variant(toy_run, tmp_path / "run"), []
    config = read_config(run)
    write_config(run, config.model_copy(update={"image": replace(config.image, height=40_000, width=20)}), {})
    example = onnx_adapter._example
    monkeypatch.setattr(onnx_adapter, "_example", lambda *given: sizes.append(given[2:]) or example(*given))
    export_onnx(run, tmp_path / "a.onnx")
    assert sizes == [(24, 20), (37, 27)]


def test_a_plugins_own_refiner_is_exported_too(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "refiner=tint")
    export_onnx(tmp_path / "run", tmp_path / "out.onnx")
    x = torch.rand(3, 1, 20, 7)
    torch.testing.assert_close(computed(tmp_path / "out.onnx", x), Refine.load(tmp_path / "run")(x))


def test_the_command_refuses_to_overwrite(cli, toy_run, tmp_path):
    target = tmp_path / "out.onnx"
    target.write_text("mine")
    assert (
        "out.onnx: exists already; name another file, or give --overwrite" in cli("export", toy_run, target).complaint()
    )
    assert target.read_text() == "mine"
    done = cli("export", toy_run, target, "--overwrite").ok()
    first, second = done.out.splitlines()
    assert first == f"{target}: image (batch, 1, height, width) to refined, float32 in [0, 1], opset 18"
    assert second.startswith("onnxruntime computes the same images to ")
    assert float(second.split()[6].rstrip(",")) < 1e-4
    assert done.err == ""


@pytest.mark.parametrize("name", ["refiner.safetensors", "config.toml"])
def test_the_refiner_itself_is_never_replaced(toy_run, tmp_path, name):
    run = shutil.copytree(toy_run, tmp_path / "run")
    before = (run / name).read_bytes()
    with pytest.raises(UserError, match="belongs to the refiner; name another file"):
        export_onnx(run, run / ".." / "run" / name, overwrite=True)
    assert (run / name).read_bytes() == before


def test_a_refiner_that_gives_nan_is_not_written(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr("synthreal.adapters.onnx._difference", lambda *given: float("nan"))
    with pytest.raises(UserError, match=r"differ by nan from torch's \(more than 0\.0001\), so .*out\.onnx is not"):
        export_onnx(toy_run, tmp_path / "out.onnx")
    assert files(tmp_path) == []


def test_the_check_sees_a_difference(toy_run, tmp_path, monkeypatch):
    honest = np.ndarray

    class Lying(onnxruntime.InferenceSession):
        def run(self, *given):
            (found,) = super().run(*given)
            assert isinstance(found, honest)
            found[-1, -1, -1, -1] += 0.001
            return [found]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Lying)
    with pytest.raises(UserError, match=r"differ by 1\.0e-03"):
        export_onnx(toy_run, tmp_path / "out.onnx")
    assert files(tmp_path) == []


def test_bad_input_is_one_line(cli, toy_run, tmp_path):
    assert "nothing: holds no run" in cli("export", tmp_path / "nothing", tmp_path / "out.onnx").complaint()
    assert "cannot write" in cli("export", toy_run, tmp_path / "nowhere" / "out.onnx").complaint()
    damaged = shutil.copytree(toy_run, tmp_path / "damaged")
    (damaged / "refiner.safetensors").write_bytes(b"")
    assert "not a complete safetensors file" in cli("export", damaged, tmp_path / "out.onnx").complaint()
    assert not (tmp_path / "out.onnx").exists()


def test_without_the_libraries_it_says_what_to_install(cli, toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr("synthreal.errors.find_spec", lambda name: None)
    message = cli("export", toy_run, tmp_path / "out.onnx").complaint()
    assert all(name in message for name in ("onnx", "onnxscript", "onnxruntime", "pip install 'synthreal[onnx]'"))
