"""albumentations: the refiner is one of its transforms."""

from __future__ import annotations

import importlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from synthreal.errors import UserError

A = pytest.importorskip("albumentations")

from synthreal.adapters.albumentations import Refine  # noqa: E402


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    monkeypatch.delitem(sys.modules, "synthreal.adapters.albumentations")
    with pytest.raises(UserError, match=r"pip install 'synthreal\[albumentations\]'"):
        importlib.import_module("synthreal.adapters.albumentations")


def image(*shape, dtype="uint8", seed=0):
    drawn = np.random.default_rng(seed).random(shape)
    return (drawn * 255).astype("uint8") if dtype == "uint8" else drawn.astype(dtype)


def planes(array):
    """An array as float ``(1, C, H, W)``."""
    unit = array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    return torch.from_numpy(np.moveaxis(np.atleast_3d(unit), -1, 0)[None])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((12, 16), "uint8"), ((12, 16, 1), "float32"), ((9, 20), "float32"), ((12, 16, 3), "uint8")],
)
def test_an_image_is_refined_and_keeps_its_form(folder, expected, shape, dtype):
    run = folder(shape[2] if len(shape) == 3 else 1)
    before = image(*shape, dtype=dtype)
    after = Refine(run)(image=before)["image"]
    assert (after.dtype, after.shape) == (before.dtype, shape)
    torch.testing.assert_close(planes(after), expected(run, planes(before)), atol=0.6 / 255, rtol=0)


def test_labels_boxes_key_points_and_masks_do_not_change(folder):
    pipeline = A.Compose(
        [A.HorizontalFlip(p=1.0), Refine(folder())],
        keypoint_params=A.KeypointParams("xy"),
        bbox_params=A.BboxParams("pascal_voc", label_fields=["names"]),
    )
    before = image(12, 16)
    mask = (before > 100).astype(np.uint8)
    found = pipeline(
        image=before, mask=mask, keypoints=np.array([[3.0, 4.0]]), bboxes=[[1, 2, 5, 6]], names=["eye"], gaze=0.3
    )
    assert np.array_equal(found["image"], Refine(folder())(image=np.ascontiguousarray(before[:, ::-1]))["image"])
    assert np.array_equal(found["mask"], mask[:, ::-1]) and found["names"] == ["eye"] and found["gaze"] == 0.3
    np.testing.assert_allclose(found["keypoints"], [[12, 4]])
    np.testing.assert_allclose(found["bboxes"], [[11, 2, 15, 6]])


@pytest.mark.parametrize(("shape", "name"), [((5, 12, 16), "images"), ((5, 12, 16, 1), "volume")])
def test_several_images_are_refined_in_one_pass(folder, monkeypatch, shape, name):
    seen, transform = [], Refine(folder())
    call = type(transform._refine).__call__
    monkeypatch.setattr(
        type(transform._refine), "__call__", lambda self, x, **m: seen.append(len(x)) or call(self, x, **m)
    )
    before = image(*shape)
    after = transform(**{name: before})[name]
    assert seen == [5] and (after.dtype, after.shape) == (np.uint8, shape)
    for one, alone in zip(after, before, strict=True):
        np.testing.assert_allclose(one.astype(int), transform(image=alone)["image"].astype(int), atol=1)


def test_the_seed_of_compose_determines_picks_and_noise(folder):
    before = image(12, 16)

    def drawn(seed, noise=2):
        pipeline = A.Compose([Refine(folder(noise=noise), p=0.5)], seed=seed)
        return np.stack([pipeline(image=before)["image"] for _ in range(20)])

    assert np.array_equal(drawn(1), drawn(1)) and not np.array_equal(drawn(1), drawn(2))
    changed = (drawn(1) != before).any(axis=(1, 2))
    assert 0 < changed.sum() < 20
    assert len(np.unique(drawn(1)[changed], axis=0)) == changed.sum(), "noise is drawn anew"
    assert len(np.unique(drawn(1, noise=0)[changed], axis=0)) == 1
    assert (Refine(folder(), p=0.0)(image=before)["image"] == before).all()


def test_versions_are_drawn_at_every_call_from_the_seed_of_compose(folder, versions_of):
    before = image(12, 16)

    def drawn(seed):
        pipeline = A.Compose([Refine(folder(), versions=True)], seed=seed)
        return np.stack([pipeline(image=before)["image"] for _ in range(30)])

    found = drawn(1)
    unit = planes(before)
    looks = versions_of(folder(), unit.expand(30, -1, -1, -1), torch.from_numpy(found / np.float32(255))[:, None])
    assert {version for version, _ in looks} == {0, 1, 2} and len({real for version, real in looks if version}) > 2
    assert np.array_equal(drawn(1), found) and not np.array_equal(drawn(2), found)
    together = A.Compose([Refine(folder(), versions=True)], seed=1)(images=np.stack([before] * 30))["images"]
    assert len(np.unique(together, axis=0)) > 3


def test_a_replay_gives_the_same_image(folder):
    pipeline = A.ReplayCompose([A.HorizontalFlip(p=0.5), Refine(folder(noise=2), p=0.5, versions=True)])
    before, refined = image(12, 16), 0
    for _ in range(12):
        found = pipeline(image=before)
        record = json.loads(json.dumps(found["replay"]))
        assert np.array_equal(A.ReplayCompose.replay(record, image=before)["image"], found["image"])
        refined += record["transforms"][1]["applied"]
    assert 0 < refined < 12


def test_it_serialises_as_a_path_before_and_after_use(folder, tmp_path):
    pipeline = A.Compose([Refine(folder(), p=0.5, device="cpu", versions=True)], seed=1)
    for _ in range(2):
        A.save(pipeline, tmp_path / "pipeline.json")
        again = A.load(tmp_path / "pipeline.json")
        assert A.to_dict(again) == A.to_dict(pipeline)
        (transform,) = again.transforms
        assert (transform.run, transform.p, transform.device, transform.versions) == (str(folder()), 0.5, "cpu", True)
        assert transform._refine.versions
        copied = pickle.loads(pickle.dumps(pipeline))
        assert len(pickle.dumps(pipeline)) < 20_000
        for _ in range(4):
            assert np.array_equal(copied(image=image(12, 16))["image"], pipeline(image=image(12, 16))["image"])
    assert f"Refine(p=0.5, device='cpu', run='{folder()}', versions=True)" in repr(pipeline)


class Eyes(torch.utils.data.Dataset):
    """Two images under a pipeline."""

    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.pipeline(image=image(12, 16, seed=index))["image"]


def test_workers_of_a_loader_refine_the_same(folder):
    eyes = Eyes(A.Compose([Refine(folder())]))
    wanted = torch.stack([torch.from_numpy(eyes[index]) for index in range(2)])
    (found,) = DataLoader(eyes, batch_size=2, num_workers=1, multiprocessing_context="fork")
    torch.testing.assert_close(found.int(), wanted.int(), atol=1, rtol=0)
    with pytest.raises(UserError, match="a refiner on cuda cannot work in a forked process"):
        next(iter(DataLoader(Eyes(Refine(folder(), "cuda")), num_workers=1, multiprocessing_context="fork")))


def test_bad_arguments_and_images(folder, tmp_path, without_styles):
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        Refine(without_styles, versions=True)
    with pytest.raises(UserError, match=r"holds no run \(no config.toml\)"):
        Refine(tmp_path)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Refine(folder(), p=2.0)
    with pytest.raises(ValueError, match="run"):
        Refine(3)
    with pytest.raises(UserError, match="use auto, cpu, cuda or cuda:N"):
        Refine(folder(), "gpu")
    with pytest.raises(UserError, match=r"takes images \(H, W, 1\) .*given ndarray \(12, 16, 3\)"):
        Refine(folder())(image=image(12, 16, 3))
    with pytest.raises(UserError, match="values from"):
        Refine(folder())(image=image(12, 16, dtype="float32") * 255)
