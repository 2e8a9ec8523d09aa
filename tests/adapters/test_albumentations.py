"""The library's domain adaptations match their papers; the refiner is one of its transforms."""

from __future__ import annotations

import importlib
import json
import pickle
import sys

import albumentations as A
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from synthreal.adapters.albumentations import Refine, fda, histogram, pixel_distribution
from synthreal.errors import UserError


def pair(channels=1, count=3, height=10, width=14):
    rng = np.random.default_rng(0)
    simulated = rng.uniform(0.1, 0.6, (count, channels, height, width)).astype(np.float32)
    real = rng.uniform(0.4, 1.0, (count, channels, height, width)).astype(np.float32) ** 2
    return torch.from_numpy(simulated), torch.from_numpy(real)


def swapped(image, reference, beta):
    """Fourier domain adaptation of one channel: the square of low frequencies takes the other's amplitudes."""
    spectrum, other = (np.fft.fftshift(np.fft.fft2(one)) for one in (image, reference))
    reach, mixed = int(beta * min(image.shape)), spectrum.copy()
    first, last = ([int((side - 1) / 2 + sign * reach) for side in image.shape] for sign in (-1, 1))
    for row in range(first[0], last[0]):
        for column in range(first[1], last[1]):
            mixed[row, column] *= np.abs(other[row, column]) / np.abs(spectrum[row, column])
    return np.fft.ifft2(np.fft.ifftshift(mixed)).real


@pytest.mark.parametrize("channels", [1, 3])
def test_every_adaptation_keeps_shape_range_and_type(channels):
    x, y = pair(channels)
    for adapted in (
        fda(x, y, beta=0.2),
        histogram(x, y, blend=1.0),
        pixel_distribution(x, y, transform="standard", blend=1.0),
    ):
        assert (adapted.shape, adapted.dtype) == (x.shape, torch.float32)
        assert 0 <= adapted.min() and adapted.max() <= 1
        assert (adapted - x).abs().mean() > 0.01
        assert (adapted.mean() - y.mean()).abs() < (x.mean() - y.mean()).abs()


@pytest.mark.parametrize("beta", [0.1, 0.3])
def test_fda_gives_low_frequencies_the_amplitudes_of_the_reference(beta):
    x, y = pair(channels=2)
    for found, image, reference in zip(fda(x, y, beta=beta), x.double(), y.double(), strict=True):
        for channel in range(2):
            expected = swapped(image[channel].numpy(), reference[channel].numpy(), beta)
            np.testing.assert_allclose(found[channel], expected.clip(0, 1), atol=1e-4)
    torch.testing.assert_close(fda(x, y, beta=0.0), x, atol=1e-5, rtol=0)


def test_histogram_matching_gives_the_levels_of_the_reference():
    x, y = pair(height=32, width=32)
    found = histogram(x, y, blend=1.0)
    for mine, theirs, before in zip(found, y, x, strict=True):
        for share in (0.1, 0.5, 0.9):
            assert float(mine.quantile(share) - theirs.quantile(share)) == pytest.approx(0, abs=0.02)
        order = before.flatten().argsort()
        assert (mine.flatten()[order].diff() >= -1 / 255).all()  # darker stays darker
    half = histogram(x, y, blend=0.5)
    torch.testing.assert_close(half, (found + x) / 2, atol=3 / 255, rtol=0)


def test_pixel_distributions_match_in_mean_and_deviation():
    x, y = pair(height=32, width=32)
    found = pixel_distribution(x, y, transform="standard", blend=1.0)
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(found, (1, 2, 3)), moment(y, (1, 2, 3)), atol=0.02, rtol=0.05)
    ranged = pixel_distribution(x, y, transform="minmax", blend=1.0)
    assert ranged.amax((1, 2, 3)).sub(y.amax((1, 2, 3))).abs().max() < 0.01
    assert not torch.equal(found, ranged)
    half = pixel_distribution(x, y, transform="standard", blend=0.5)
    torch.testing.assert_close(half, (found + x) / 2, atol=3 / 255, rtol=0)


def test_principal_axes_need_colours_to_differ_from_moments():
    x, y = pair(channels=3)
    tilted = y + 0.5 * y[:, :1]
    tilted = tilted / tilted.max()
    first, second = (pixel_distribution(x, tilted, transform=kind, blend=1.0) for kind in ("pca", "standard"))
    assert (first - second).abs().mean() > 0.005


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    monkeypatch.delitem(sys.modules, "synthreal.adapters.albumentations")
    with pytest.raises(UserError, match="pip install albumentations"):
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


def test_a_replay_gives_the_same_image(folder):
    pipeline = A.ReplayCompose([A.HorizontalFlip(p=0.5), Refine(folder(noise=2), p=0.5)])
    before, refined = image(12, 16), 0
    for _ in range(12):
        found = pipeline(image=before)
        record = json.loads(json.dumps(found["replay"]))
        assert np.array_equal(A.ReplayCompose.replay(record, image=before)["image"], found["image"])
        refined += record["transforms"][1]["applied"]
    assert 0 < refined < 12


def test_it_serialises_as_a_path_before_and_after_use(folder, tmp_path):
    pipeline = A.Compose([Refine(folder(), p=0.5, device="cpu")], seed=1)
    for _ in range(2):
        A.save(pipeline, tmp_path / "pipeline.json")
        again = A.load(tmp_path / "pipeline.json")
        assert A.to_dict(again) == A.to_dict(pipeline)
        (transform,) = again.transforms
        assert (transform.run, transform.p, transform.device) == (str(folder()), 0.5, "cpu")
        copied = pickle.loads(pickle.dumps(pipeline))
        assert len(pickle.dumps(pipeline)) < 20_000
        for _ in range(4):
            assert np.array_equal(copied(image=image(12, 16))["image"], pipeline(image=image(12, 16))["image"])
    assert f"Refine(p=0.5, device='cpu', run='{folder()}')" in repr(pipeline)


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


def test_bad_arguments_and_images(folder, tmp_path):
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
