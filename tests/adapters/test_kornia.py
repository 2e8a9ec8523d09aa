"""The refiner as an augmentation: picks, noise and replay are kornia's; the rest of a sample does not change."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys

import kornia.augmentation as K
import pytest
import torch
from torch import nn

from synthreal.adapters.kornia import Refine
from synthreal.errors import UserError


def images(count=6, channels=1):
    return torch.rand(count, channels, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, torch.float32), (3, torch.float32), (1, torch.float64), (1, torch.float16)]
)
def test_a_batch_is_refined_in_its_dtype(folder, expected, channels, dtype):
    x = images(channels=channels).to(dtype)
    y = Refine(folder(channels))(x)
    assert y.dtype == dtype and not y.requires_grad
    torch.testing.assert_close(y, expected(folder(channels), x.float()).to(dtype), atol=1e-3, rtol=0)


def test_one_image_with_and_without_its_batch(folder):
    assert Refine(folder(), keepdim=True)(images()[0]).shape == (1, 12, 16)
    assert Refine(folder())(images()[0]).shape == (1, 1, 12, 16)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_each_image_is_refined_with_probability_p_and_the_others_cost_nothing(folder, expected, monkeypatch, p):
    aug, x, seen = Refine(folder(), p=p), images(40), []
    call = type(aug._refine).__call__
    monkeypatch.setattr(type(aug._refine), "__call__", lambda self, x, **m: seen.append(len(x)) or call(self, x, **m))
    torch.manual_seed(0)
    y = aug(x)
    changed = (y != x).flatten(1).any(1)
    assert torch.equal(changed, aug._params["batch_prob"] > 0.5) and sum(seen) == changed.sum()
    assert 0.3 < changed.float().mean() < 0.7 if p == 0.5 else bool((changed == bool(p)).all())
    torch.testing.assert_close(y[changed], expected(folder(), x)[changed], atol=1e-6, rtol=0)


def test_the_global_generator_determines_picks_and_noise(folder):
    aug, x, found = Refine(folder(noise=2), p=0.5), images(20), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(aug(x))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    same = images(1).expand(6, -1, -1, -1)
    assert len(torch.unique(Refine(folder(noise=2))(same), dim=0)) == 6, "each image has noise of its own"
    assert len(torch.unique(Refine(folder(noise=2), same_on_batch=True)(same), dim=0)) == 1


def test_each_refined_image_has_a_version_of_its_own_unless_the_batch_is_one(folder, versions_of):
    same = images(1).expand(60, -1, -1, -1).contiguous()
    torch.manual_seed(0)
    aug = Refine(folder(), p=0.5, versions=True)
    y = aug(same)
    picked = aug._params["batch_prob"] > 0.5
    assert torch.equal((y != same).flatten(1).any(1), picked)
    looks = versions_of(folder(), same[picked], y[picked])
    assert {version for version, _ in looks} == {0, 1, 2} and len({real for version, real in looks if version}) > 2
    keys = aug._params["noise_key"][picked]
    again = aug._refine(same[: len(keys)], keys=keys, seed=0)
    assert torch.equal(again, y[picked])
    seen = set()
    for _ in range(12):
        (look,) = set(versions_of(folder(), same[:4], Refine(folder(), same_on_batch=True, versions=True)(same[:4])))
        seen.add(look[0])
    assert len(seen) > 1


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_a_pipeline_replays_exactly_and_key_points_follow_the_flip(folder, p):
    aug = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        Refine(folder(noise=2), p=p, versions=True),
        K.RandomGaussianNoise(std=0.1, p=0.5),
        data_keys=["input", "keypoints", "mask", "bbox_xyxy"],
    )
    x = images()
    points = torch.tensor([[[3.0, 4.0]]]).repeat(6, 1, 1)
    mask = (x > 0.5).float()
    boxes = torch.tensor([[[1.0, 2.0, 5.0, 6.0]]]).repeat(6, 1, 1)
    first = aug(x, points, mask, boxes)
    params = aug._params
    aug(images(3), points[:3], mask[:3], boxes[:3])  # another call in between
    second = aug(x, points, mask, boxes, params=params)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    flipped = params[0].data["batch_prob"] > 0.5
    assert 0 < flipped.sum() < 6
    torch.testing.assert_close(first[1][..., 0].flatten(), torch.where(flipped, 12.0, 3.0))
    assert torch.equal(first[2], torch.where(flipped[:, None, None, None], mask.flip(-1), mask))


def test_the_network_is_not_part_of_the_pipelines_parameters_and_state(folder, expected):
    pipeline = nn.Sequential(K.AugmentationSequential(Refine(folder()), data_keys=["input"]), nn.Conv2d(1, 2, 3))
    x = images()
    for _ in range(2):
        assert set(pipeline.state_dict()) == {"1.weight", "1.bias"} == {name for name, _ in pipeline.named_parameters()}
        pipeline.train()
        torch.testing.assert_close(pipeline[0](x), expected(folder(), x), atol=1e-6, rtol=0)
    pipeline(x).sum().backward()
    assert pipeline[1].weight.grad is not None


def test_it_pickles_and_copies_as_a_path(folder):
    aug, x = Refine(folder(noise=2), p=0.5, versions=True), images()
    for _ in range(2):
        assert len(pickle.dumps(aug)) < 10_000
        for other in (pickle.loads(pickle.dumps(aug)), copy.deepcopy(aug)):
            torch.manual_seed(3)
            mine = aug(x)
            torch.manual_seed(3)
            assert torch.equal(other(x), mine)
    assert f"Refine(p=0.5, p_batch=1.0, same_on_batch=False, run={folder(noise=2)}, versions=True)" == repr(aug)


def test_it_works_where_the_pipeline_is_compiled(folder):
    for versions in (False, True):
        aug, x, found = Refine(folder(), versions=versions), images(), []
        for call in (torch.compile(aug, backend="eager"), aug):
            torch.manual_seed(2)
            found.append(call(x))
        torch.testing.assert_close(*found, atol=1e-6, rtol=0)


@pytest.mark.gpu
def test_it_goes_where_the_batch_is(folder, expected):
    aug = K.AugmentationSequential(Refine(folder(noise=2), p=0.5, versions=True), data_keys=["input"])
    x = images().cuda()
    y = aug(x)
    assert y.is_cuda and torch.equal(aug(x, params=aug._params), y)


def test_bad_arguments_and_images(folder, tmp_path, without_styles):
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        Refine(without_styles, versions=True)
    with pytest.raises(UserError, match=r"holds no run \(no config.toml\)"):
        Refine(tmp_path)
    with pytest.raises(UserError, match=r"give a number in \[0, 1\]"):
        Refine(folder(), p=2)
    with pytest.raises(UserError, match=r"takes images \(1, H, W\), given tensor \(3, 12, 16\)"):
        Refine(folder())(images(channels=3))


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    monkeypatch.delitem(sys.modules, "synthreal.adapters.kornia")
    with pytest.raises(UserError, match="pip install kornia"):
        importlib.import_module("synthreal.adapters.kornia")
