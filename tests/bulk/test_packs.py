"""Refinement of packs: order, labels, noise and refusals."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
import torch

import synthreal
from synthreal import device
from synthreal.bulk import packs
from synthreal.bulk.refine import refine_bulk
from synthreal.core.noise import indexed_noise
from synthreal.data.encoding import from_unit, stored_array, stored_tensor, to_unit
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.inference.indexed import BLOCK
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.spec import ImageSpec, LabelSpec

N = 300  # more than one block of 256, and not a multiple of it
LABELS = (
    LabelSpec("centre", (1, 2), "px"),
    LabelSpec("boxes", (2, 4), "px"),
    LabelSpec("mask", (12, 16), "class"),
    LabelSpec("count", (), "number"),
)


def write(path, n=N, dtype="uint8", channels=1):
    rng = np.random.default_rng(0)
    spec = ImageSpec(channels=channels, height=12, width=16, dtype=dtype)
    image = rng.integers(0, 256, (N, channels, 12, 16)).astype(np.uint8)
    stored = stored_array(from_unit(torch.from_numpy(image / np.float32(255)), dtype))
    labels = {
        "centre": rng.normal(size=(N, 1, 2)),
        "boxes": rng.random((N, 2, 4)).astype(np.float32),
        "mask": rng.integers(0, 9, (N, 12, 16)).astype(np.uint8),
        "count": rng.integers(-(2**40), 2**40, N),
    }
    with PackWriter(path, image=spec, labels=LABELS, role="simulated", name="toy") as writer:
        writer.append(stored[:n], {name: values[:n] for name, values in labels.items()})
    return path


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_images_keep_their_order_and_labels_are_copied_exactly(toy_run, tmp_path, dtype):
    write(tmp_path / "in.h5", dtype=dtype)
    progress = []
    summary = refine_bulk(
        toy_run, tmp_path / "in.h5", tmp_path / "out.h5", on_progress=lambda *counts: progress.append(counts)
    )
    assert (summary.refined, progress) == (N, [(BLOCK, N), (N, N)])
    before, after = Pack(tmp_path / "in.h5"), Pack(tmp_path / "out.h5")
    assert (len(after), after.image, after.labels, after.role) == (N, before.image, before.labels, "simulated")
    assert after.name == "toy refined"
    image, labels = before.read(slice(None))
    refined, carried = after.read(slice(None))
    for name, values in labels.items():
        assert carried[name].dtype == values.dtype
        assert carried[name].tobytes() == values.tobytes()
    refine = Refine.load(toy_run)
    one_by_one = torch.stack([refine(pixels) for pixels in to_unit(stored_tensor(image))])
    difference = (to_unit(stored_tensor(refined)) - one_by_one).abs().max()
    assert difference <= {"uint8": 0.51 / 255, "float16": 1e-3}[dtype]
    assert (to_unit(stored_tensor(refined)) - to_unit(stored_tensor(image))).abs().mean() > 0.01


def test_a_refined_image_does_not_depend_on_the_images_after_it(noisy, tmp_path):
    refine_bulk(noisy, write(tmp_path / "all.h5"), tmp_path / "all_out.h5")
    whole = Pack(tmp_path / "all_out.h5").read(slice(None))[0]
    for n in (1, 255, 257):
        refine_bulk(noisy, write(tmp_path / f"{n}.h5", n), tmp_path / f"{n}_out.h5")
        np.testing.assert_array_equal(Pack(tmp_path / f"{n}_out.h5").read(slice(None))[0], whole[:n])


def test_noise_is_a_function_of_the_seed_and_differs_between_images(noisy, tmp_path):
    image = np.full((N, 1, 12, 16), 100, np.uint8)
    with PackWriter(
        tmp_path / "in.h5", image=ImageSpec(channels=1, height=12, width=16), role="real", name="flat"
    ) as w:
        w.append(image)
    shas = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        refine_bulk(noisy, tmp_path / "in.h5", tmp_path / f"{name}.h5", seed=seed)
        shas.append(Pack(tmp_path / f"{name}.h5").sha256())
    assert shas[0] == shas[1] != shas[2]
    refined = Pack(tmp_path / "a.h5").read(slice(None))[0]
    assert len({pixels.tobytes() for pixels in refined}) == N  # also across blocks
    assert dict(Pack(tmp_path / "a.h5").options)["seed"] == 3


def test_noise_depends_on_the_index_of_the_image(noisy, tmp_path):
    path = write(tmp_path / "in.h5")
    refine_bulk(noisy, path, tmp_path / "out.h5", seed=3)
    image = to_unit(stored_tensor(Pack(path).read(slice(260, 261))[0]))
    refined = to_unit(stored_tensor(Pack(tmp_path / "out.h5").read(slice(260, 261))[0]))
    refine = Refine.load(noisy)
    for index, same in ((260, True), (259, False)):
        noise = indexed_noise(torch.tensor([index]), (1, 12, 16), derive_seed(0, "refine", 3))
        assert ((refine(image, noise) - refined).abs().max() <= 0.51 / 255) == same


@pytest.mark.parametrize("version", range(3))
def test_resident_and_packed_images_are_refined_alike(noisy, tmp_path, version):
    path = write(tmp_path / "in.h5")
    refine_bulk(noisy, path, tmp_path / "out.h5", samples=3)
    image, labels = Pack(path).read(slice(None))
    given = Resident(stored_tensor(image), {"count": torch.from_numpy(labels["count"])})
    refined = refine_resident(Refine.load(noisy), given, "uint8", version=version)
    np.testing.assert_array_equal(
        stored_array(refined.image), Pack(tmp_path / "out.h5").read(slice(None))[0][version::3]
    )
    assert torch.equal(refined.labels["count"], given.labels["count"])
    np.testing.assert_array_equal(stored_array(given.image), image)  # the input is unchanged


def test_blocks_do_not_matter_to_styles_and_the_seed_does(plain, tmp_path, monkeypatch):
    path, images = write(tmp_path / "in.h5", 20), {}
    for name, seed, block in (("a", 3, 20), ("b", 3, 8), ("c", 4, 20)):
        monkeypatch.setattr(packs.PackSource, "block_size", lambda self, batch, size, block=block: block)
        refine_bulk(plain, path, tmp_path / f"{name}.h5", seed=seed, samples=3, batch_size=4)
        images[name] = Pack(tmp_path / f"{name}.h5").read(slice(None))[0]
    np.testing.assert_array_equal(images["a"], images["b"])
    np.testing.assert_array_equal(images["a"][::3], images["c"][::3])  # refined without noise maps
    assert all((images["a"][version::3] != images["c"][version::3]).mean() > 0.1 for version in (1, 2))


def test_other_sizes_are_refined_and_other_channel_counts_refused(toy_run, tmp_path):
    spec = ImageSpec(channels=1, height=21, width=9)
    with PackWriter(tmp_path / "big.h5", image=spec, role="simulated", name="big") as writer:
        writer.append(np.zeros((3, 1, 21, 9), np.uint8))
    refine_bulk(toy_run, tmp_path / "big.h5", tmp_path / "big_out.h5")
    assert Pack(tmp_path / "big_out.h5").image == spec
    with pytest.raises(UserError, match=r"rgb\.h5: .*3x12x16.* 1 channel"):
        refine_bulk(toy_run, write(tmp_path / "rgb.h5", 4, channels=3), tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_an_existing_pack_is_not_overwritten_even_if_it_is_the_input(toy_run, tmp_path):
    path = write(tmp_path / "in.h5", 5)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"in\.h5: already exists"):
        refine_bulk(toy_run, path, path)
    assert path.read_bytes() == before


def test_a_nan_pixel_is_reported_with_its_image_and_nothing_is_written(toy_run, tmp_path):
    path = write(tmp_path / "in.h5", dtype="float16")
    with h5py.File(path, "r+") as file:
        file["image"][270, 0, 3, 3] = np.nan
    with pytest.raises(UserError, match="image 270"):
        refine_bulk(toy_run, path, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_two_files_suffice_to_refine(toy_run, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("config.toml", "refiner.safetensors"):
        shutil.copy(toy_run / name, folder)
    path = write(tmp_path / "in.h5", 9)
    synthreal.refine_bulk(folder, path, tmp_path / "a.h5")
    synthreal.refine_bulk(toy_run, path, tmp_path / "b.h5")
    assert Pack(tmp_path / "a.h5").sha256() == Pack(tmp_path / "b.h5").sha256()


@pytest.mark.parametrize(("compile", "expected"), [("true", 1), ("false", 0)])
def test_the_process_is_configured_by_the_run(toy_run, tmp_path, monkeypatch, compile, expected):
    run = shutil.copytree(toy_run, tmp_path / "run")
    config = (run / "config.toml").read_text().replace('compile = "auto"', f"compile = {compile}")
    (run / "config.toml").write_text(config.replace("autotune = true", "autotune = false"))
    compiled = []
    monkeypatch.setattr(device, "compiler_fault", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network, dynamic: compiled.append(dynamic))
    refine_bulk(run, write(tmp_path / "in.h5", n=3), tmp_path / "out.h5")
    assert compiled == [False] * expected
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.parametrize(("top", "count"), [(4096, 1), (65536, 0)])
def test_values_of_12_bits_are_reported(plain, pack_of, tmp_path, top, count):
    path, warnings = pack_of(3, dtype="uint16"), []
    with h5py.File(path, "r+") as file:
        file["image"][...] = file["image"][...] & (top - 1)
    assert refine_bulk(plain, path, tmp_path / "out.h5", on_warning=warnings.append).refined == 3
    assert len(warnings) == count and all("12-bit" in warning for warning in warnings)
