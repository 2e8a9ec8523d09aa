"""The refiner in Hugging Face data sets: mapped or on the fly, cached by its weights; other columns do not change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal.adapters.datasets import Refine
from synthreal.adapters.lazy import LazyRefine
from synthreal.errors import UserError

COUNT = 12


def pictures():
    drawn = np.random.default_rng(0).integers(0, 255, (COUNT, 12, 16)).astype(np.uint8)
    return [Image.fromarray(one[: 12 if place % 3 else 9]) for place, one in enumerate(drawn)]


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Twelve images of two sizes with a class, boxes and a name, cached below the test's folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hf = pytest.importorskip("datasets")
    hf.disable_progress_bars()
    features = hf.Features(
        {"image": hf.Image(), "label": hf.ClassLabel(names=["left", "right"]), "boxes": hf.List(hf.Value("float32"))}
    )
    rows = {"image": pictures(), "label": [k % 2 for k in range(COUNT)], "boxes": [[k, 1.5] for k in range(COUNT)]}
    hf.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    return hf.load_from_disk(tmp_path / "set")


def arrays(images):
    return [np.asarray(image) for image in images]


def same(found, wanted, atol=0):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.astype(int), other.astype(int), atol=atol)


def alone(run, noise=0, seed=0):
    """Every image by itself, as ``synthreal refine`` would refine it with that seed."""
    refine, found = LazyRefine(run).__call__, []
    for place, image in enumerate(pictures()):
        unit = torch.from_numpy(np.asarray(image) / np.float32(255))[None, None]
        refined = refine(unit, keys=torch.tensor([place]), seed=seed)
        found.append((refined[0, 0] * 255).round().byte().numpy())
    return found


@pytest.mark.parametrize(("batch_size", "noise"), [(1, 2), (5, 0), (5, 2), (100, 2)])
def test_map_gives_the_same_for_the_same_index_in_any_batch(folder, dataset, noise, batch_size):
    found = dataset.map(Refine(folder(noise=noise)), batched=True, with_indices=True, batch_size=batch_size)
    same(arrays(found["image"]), alone(folder(noise=noise)), atol=1)
    assert found.features == dataset.features
    assert found["label"][:] == dataset["label"][:] and found["boxes"][:] == dataset["boxes"][:]
    assert {image.mode for image in found["image"]} == {"L"}


def test_another_seed_is_another_noise_and_p_picks(folder, dataset):
    def mapped(**options):
        return arrays(dataset.map(Refine(folder(noise=2), **options), batched=True, with_indices=True)["image"])

    first, other = mapped(), mapped(seed=1)
    assert all((one != two).any() for one, two in zip(first, other, strict=True))
    changed = [bool((a != b).any()) for a, b in zip(mapped(p=0.5), arrays(dataset["image"]), strict=True)]
    assert 0 < sum(changed) < COUNT
    for one, two, picked in zip(mapped(p=0.5), first, changed, strict=True):
        assert not picked or np.abs(one.astype(int) - two.astype(int)).max() <= 1
    same(mapped(p=0.0), arrays(dataset["image"]))


def test_versions_follow_seed_and_index_in_any_batch(folder, dataset, versions_of):
    def mapped(batch_size=100, **options):
        refine = Refine(folder(), versions=True, **options)
        found = dataset.map(refine, batched=True, with_indices=True, batch_size=batch_size)
        return arrays(found["image"])

    first = mapped()
    same(mapped(batch_size=5), first, atol=1)
    seen = set()
    for image, found in zip(arrays(pictures()), first, strict=True):
        before, after = (torch.from_numpy(one / np.float32(255))[None, None] for one in (image, found))
        seen.add(versions_of(folder(), before, after)[0][0])
    assert seen == {0, 1, 2}
    assert any((one != two).any() for one, two in zip(first, mapped(seed=1), strict=True))
    dataset.set_transform(Refine(folder(), versions=True, seed=None))
    assert len({np.asarray(dataset[1]["image"]).tobytes() for _ in range(20)}) > 3


def test_images_of_one_size_pass_through_the_network_together(folder, dataset, monkeypatch):
    seen, call = [], LazyRefine.__call__
    monkeypatch.setattr(LazyRefine, "__call__", lambda self, x, **more: seen.append(len(x)) or call(self, x, **more))
    Refine(folder())(dataset[:])
    assert seen == [4, 8]


def test_on_the_fly(folder, dataset):
    dataset.set_transform(Refine(folder()))
    batch = dataset[2:5]
    same(arrays(batch["image"]), alone(folder())[2:5], atol=1)
    assert batch["label"] == [0, 1, 0] and dataset[2]["boxes"] == [2.0, 1.5]


def test_on_the_fly_noise_is_drawn_at_every_call_or_refused(folder, dataset):
    refine = Refine(folder(noise=2), seed=None)
    dataset.set_transform(refine)
    torch.manual_seed(0)
    found = [np.asarray(dataset[1]["image"]) for _ in range(2)]
    torch.manual_seed(0)
    assert np.array_equal(np.asarray(dataset[1]["image"]), found[0]) and not np.array_equal(*found)
    for wanting in (Refine(folder(noise=2)), Refine(folder(), p=0.5), Refine(folder(), versions=True)):
        dataset.set_transform(wanting)
        with pytest.raises(UserError, match=r"with_indices=True\); seed=None"):
            dataset[0]


def test_streams(folder, dataset):
    stream = dataset.to_iterable_dataset(num_shards=2)
    found = stream.map(Refine(folder(noise=2)), batched=True, batch_size=5, with_indices=True)
    same(arrays(row["image"] for row in found), alone(folder(noise=2)), atol=1)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_arrays_keep_their_feature(folder, name):
    hf = pytest.importorskip("datasets")
    features = hf.Features({"depth": hf.Array3D((1, 12, 16), "float32"), "label": hf.Value("int64")})
    rows = np.random.default_rng(0).random((4, 1, 12, 16)).astype(np.float32)
    dataset = hf.Dataset.from_dict({"depth": rows, "label": range(4)}, features=features).with_format(name)
    found = dataset.map(Refine(folder(), column="depth"), batched=True, batch_size=3)
    assert found.features == features and found.format["type"] == name
    wanted = LazyRefine(folder())(torch.from_numpy(rows), keys=torch.arange(4), seed=0)
    torch.testing.assert_close(torch.as_tensor(np.stack(list(found["depth"]))), wanted, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match=r"column 'depth' holds nested lists; use dataset.with_format\('numpy'\)"):
        dataset.with_format(None).map(Refine(folder(), column="depth"), batched=True)


def test_tensors_come_back_as_arrays_wherever_they_are(folder, expected, device):
    """With with_format("torch", device="cuda") the library gives them on the GPU."""
    rows = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    found = Refine(folder())({"image": rows.to(device).requires_grad_(), "label": [0, 1]})["image"]
    assert all(isinstance(image, np.ndarray) for image in found)
    torch.testing.assert_close(torch.from_numpy(np.stack(found)), expected(folder(), rows), atol=1e-4, rtol=0)


def test_the_fingerprint_is_stable_and_follows_weights_and_options(folder, dataset, tmp_path, monkeypatch):
    def print_of(refine):
        return dataset.map(refine, batched=True, with_indices=True)._fingerprint

    run = shutil.copytree(folder(), tmp_path / "run")
    refine = Refine(run)
    first = print_of(refine)
    monkeypatch.chdir(tmp_path)
    assert first == print_of(refine) == print_of(Refine(run)) == print_of(Refine(str(run))) == print_of(Refine("run"))
    options = ({"p": 0.5}, {"seed": 1}, {"seed": None}, {"device": "cpu"}, {"versions": True})
    others = {print_of(Refine(run, **option)) for option in options}
    shutil.copy(folder(seed=1) / "styles.safetensors", run)
    assert print_of(Refine(run)) == first  # without versions the styles do not matter
    others.add(print_of(Refine(run, versions=True)))
    shutil.copy(folder(seed=1) / "refiner.safetensors", run)
    others.add(print_of(Refine(run)))
    assert len(others | {first}) == 8


FORKED = """
import sys, numpy as np, torch, datasets
from synthreal.adapters.datasets import Refine
datasets.disable_progress_bars()
run, place = sys.argv[1:]
torch.set_num_threads(2)
refine, dataset = Refine(run), datasets.load_from_disk(place)
def mapped(**more):
    options = dict(batched=True, with_indices=True, batch_size=3, load_from_cache_file=False)
    return dataset.map(refine, **options, **more)["image"]
torch.rand(512, 512) @ torch.rand(512, 512)  # OpenMP has threads now, which a fork leaves behind
alone = [np.asarray(image) for image in mapped()]
shared = [np.asarray(image) for image in mapped(num_proc=2)]
assert all(np.abs(a.astype(int) - b.astype(int)).max() <= 1 for a, b in zip(alone, shared, strict=True))
print("the same")
"""


@pytest.mark.slow
def test_processes_forked_by_map_refine_the_same_and_do_not_hang(folder, dataset, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORKED, folder(noise=2), tmp_path / "set"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_bad_arguments_and_examples(folder, dataset, tmp_path, without_styles):
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        Refine(without_styles, versions=True)
    with pytest.raises(UserError, match=r"holds no run \(no config.toml\)"):
        Refine(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"give a number in \[0, 1\]"):
        Refine(folder(), p=2)
    with pytest.raises(UserError, match=r"'photo'.* image, label, boxes"):
        dataset.map(Refine(folder(), "photo"), batched=True)
    with pytest.raises(UserError, match=r"examples are list .*call map without input_columns"):
        dataset.map(Refine(folder()), batched=True, input_columns=["image"])
    with pytest.raises(UserError, match=r"examples are Table .* with_format None, 'numpy' or 'torch'"):
        dataset.with_format("arrow").map(Refine(folder()), batched=True)
    with pytest.raises(UserError, match=r"call map\(..., batched=True\)"):
        dataset.map(Refine(folder()))
    with pytest.raises(UserError, match=r"image of row 0: this refiner takes .*, given PngImageFile \(9, 16\)"):
        dataset.map(Refine(folder(3)), batched=True)


def test_missing_images_remain_none(folder):
    rng = np.random.default_rng(0)
    image = [Image.fromarray(rng.integers(0, 255, (12, 16), np.uint8)) for _ in range(3)]
    refine = Refine(folder())
    whole = refine({"image": image}, [0, 2, 3])["image"]
    found = refine({"image": [image[0], None, *image[1:], None]}, [0, 1, 2, 3, 4])["image"]
    assert found[1] is None and found[4] is None
    same(arrays([found[0], found[2], found[3]]), arrays(whole))
    assert refine({"image": [None, None]}, [0, 1])["image"] == [None, None]
