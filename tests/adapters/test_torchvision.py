"""The refiner among torchvision's v2 transforms: classes, dtypes and everything but images do not change."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from vision import torchvision_or_skip

from synthreal.errors import UserError

torchvision_or_skip()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from synthreal.adapters.torchvision import Refine  # noqa: E402


def image(*shape, dtype=torch.uint8):
    drawn = torch.rand(shape or (1, 12, 16), generator=torch.Generator().manual_seed(0))
    return (drawn * 255).to(dtype) if dtype == torch.uint8 else drawn.to(dtype)


@pytest.mark.parametrize(
    ("kind", "dtype", "shape"),
    [
        *(("Tensor", dtype, (1, 12, 16)) for dtype in (torch.uint8, torch.float32, torch.float16)),
        *((kind, torch.uint8, (4, 1, 12, 16)) for kind in ("Image", "Video", "Tensor")),
        ("Image", torch.float32, (1, 12, 16)),
        ("Video", torch.float32, (2, 2, 1, 12, 16)),
    ],
)
def test_images_keep_class_shape_and_dtype(folder, expected, kind, dtype, shape):
    before = image(*shape, dtype=dtype)
    level = 255 if dtype == torch.uint8 else 1
    after = Refine(folder())(before if kind == "Tensor" else getattr(tv_tensors, kind)(before))
    assert type(after).__name__ == kind and (after.dtype, after.shape) == (dtype, shape) and not after.requires_grad
    wanted = expected(folder(), before.float().div(level).reshape(-1, 1, 12, 16)).reshape(shape)
    torch.testing.assert_close(after.as_subclass(torch.Tensor).float() / level, wanted, atol=0.6 / 255, rtol=0)


def test_colour_and_pil_images(folder):
    colour = tv_tensors.Image(image(3, 12, 16))
    assert Refine(folder(3))(colour).shape == (3, 12, 16)
    pil = Image.fromarray(image()[0].numpy())
    found = Refine(folder())(pil)
    assert found.mode == "L" and np.array_equal(np.asarray(found), Refine(folder())(image())[0].numpy())


def test_only_other_transforms_change_the_rest_of_a_sample(folder):
    sample = {
        "image": tv_tensors.Image(image()),
        "pair": (tv_tensors.Image(image(1, 5, 6)), "name"),
        "boxes": tv_tensors.BoundingBoxes([[1, 2, 5, 6]], format="XYXY", canvas_size=(12, 16)),
        "mask": tv_tensors.Mask(image()[0] > 100),
        "gaze": torch.tensor([0.1, 0.2, 0.9]),
    }
    if hasattr(tv_tensors, "KeyPoints"):  # from torchvision 0.23 on
        sample["points"] = tv_tensors.KeyPoints([[3.0, 4.0]], canvas_size=(12, 16))
    flip, refine = v2.RandomHorizontalFlip(p=1.0), Refine(folder())
    found, flipped = v2.Compose([flip, refine])(sample), flip(sample)
    assert torch.equal(found["image"], refine(flipped["image"])) and found["pair"][1] == "name"
    assert not torch.equal(found["pair"][0], flipped["pair"][0])
    for name in sample.keys() - {"image", "pair"}:
        assert type(found[name]) is type(flipped[name]) and torch.equal(found[name], flipped[name])


def test_the_global_generator_determines_picks_and_noise(folder):
    def drawn(seed, noise=2, p=0.5):
        transform = Refine(folder(noise=noise), p=p)
        torch.manual_seed(seed)
        return torch.stack([transform(image(3, 1, 12, 16)) for _ in range(20)])

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    changed = (drawn(1) != image(3, 1, 12, 16)).flatten(2).any(2)
    assert 0 < changed[:, 0].sum() < 20 and (changed.all(1) == changed.any(1)).all()
    assert len(torch.unique(drawn(1, p=1.0).flatten(1), dim=0)) == 20, "noise is drawn anew"
    assert len(torch.unique(drawn(1, noise=0, p=1.0).flatten(1), dim=0)) == 1
    assert torch.equal(drawn(1, p=0.0)[0], image(3, 1, 12, 16))
    same = Refine(folder(noise=2))(image(1, 1, 12, 16).expand(4, -1, -1, -1))
    assert len(torch.unique(same, dim=0)) == 4, "each image of a batch has noise of its own"


def test_versions_are_drawn_for_every_call_and_for_each_image_of_a_batch(folder, versions_of):
    transform, unit = Refine(folder(), versions=True), image().float()[None] / 255
    pil = Image.fromarray(image()[0].numpy())

    def drawn(seed):
        torch.manual_seed(seed)
        return torch.stack([torch.from_numpy(np.array(transform(pil))) for _ in range(30)])

    looks = versions_of(folder(), unit.expand(30, -1, -1, -1), drawn(0)[:, None] / 255)
    assert {version for version, _ in looks} == {0, 1, 2} and len({real for version, real in looks if version}) > 2
    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))
    video = tv_tensors.Video(unit.expand(30, -1, -1, -1))
    looks = versions_of(folder(), video.as_subclass(torch.Tensor), transform(video).as_subclass(torch.Tensor))
    assert {version for version, _ in looks} == {0, 1, 2}


def test_it_pickles_and_copies_as_a_path_without_weights(folder):
    pipeline = v2.Compose([Refine(folder(noise=2), p=0.5, versions=True)])
    for _ in range(2):
        assert len(pickle.dumps(pipeline)) < 10_000 and not pipeline.state_dict() and not list(pipeline.parameters())
        for other in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)):
            torch.manual_seed(3)
            mine = pipeline(image())
            torch.manual_seed(3)
            assert torch.equal(other(image()), mine)
        pipeline.train()
    assert f"Refine(run={folder(noise=2)}, p=0.5, versions=True)" in repr(pipeline)


class Eyes(torch.utils.data.Dataset):
    """Two images under a transform."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.transform(tv_tensors.Image(image()))


def test_workers_of_a_loader_refine_the_same(folder):
    eyes = Eyes(Refine(folder()))
    (found,) = DataLoader(eyes, batch_size=2, num_workers=1, multiprocessing_context="fork")
    torch.testing.assert_close(found, torch.stack([eyes[0], eyes[1]]))


def test_bad_arguments_and_images(folder, tmp_path, without_styles):
    with pytest.raises(UserError, match=r"styles\.safetensors: missing, but versions=True"):
        Refine(without_styles, versions=True)
    with pytest.raises(UserError, match=r"holds no run \(no config.toml\)"):
        Refine(tmp_path)
    with pytest.raises(UserError, match=r"give a number in \[0, 1\]"):
        Refine(folder(), p=2)
    with pytest.raises(UserError, match=r"takes images \(1, H, W\), given tensor \(3, 12, 16\)"):
        Refine(folder())(image(3, 12, 16))
    with pytest.raises(UserError, match=r"given torch\.int64"):
        Refine(folder())(image().long())
    with pytest.raises(UserError, match=r"takes images \(1, H, W\), given tensor"):
        Refine(folder())(torch.zeros(7))


@pytest.mark.parametrize("error", [None, RuntimeError("operator torchvision::nms does not exist")])
def test_without_the_library_it_says_what_to_install(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "synthreal.adapters.torchvision")
    if error is None:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    else:

        class Broken:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "torchvision":
                    raise error

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    with pytest.raises(UserError, match=r"pip install 'synthreal\[torchvision\]', the release for torch 2"):
        importlib.import_module("synthreal.adapters.torchvision")
