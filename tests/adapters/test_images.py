"""Results have the kind, layout, dtype and shape of the input; anything but an image is one clear error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from synthreal.adapters.images import refine_images, refine_some
from synthreal.adapters.lazy import LazyRefine
from synthreal.errors import UserError

LEVELS = {"uint8": 255, "uint16": 65535}


def unit(channels=1, height=12, width=16, seed=0):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


def stored(image, dtype):
    """A float image as an array of that dtype, its integers rounded."""
    array = image.numpy()
    return np.round(array * LEVELS[dtype]).astype(dtype) if dtype in LEVELS else array.astype(dtype)


def refined(run, *images, **more):
    return refine_images(LazyRefine(run), images, keys=torch.arange(len(images)), seed=0, **more)


def close(found, wanted, dtype):
    tolerance = {"uint8": 0.6 / 255, "uint16": 0.6 / 65535, "float16": 1e-3}.get(dtype, 1e-5)
    assert np.abs(found.astype(np.float64) / LEVELS.get(dtype, 1) - wanted.numpy()).max() <= tolerance


@pytest.mark.parametrize(
    "channels, layout, dtype",
    [
        *((1, "HW", dtype) for dtype in ("uint8", "uint16", "float16", "float32", "float64")),
        *((1, layout, "float32") for layout in ("HWC", "CHW")),
        *((3, layout, dtype) for layout in ("HWC", "CHW") for dtype in ("uint8", "float32")),
    ],
)
def test_arrays_keep_layout_and_dtype(folder, expected, channels, layout, dtype):
    planes = stored(unit(channels), dtype)
    before = {"HW": planes[0], "HWC": planes.transpose(1, 2, 0), "CHW": planes}[layout]
    kept = before.copy()
    before.flags.writeable = False  # what numpy makes of a PIL image
    (after,) = refined(folder(channels), before)
    assert (after.dtype, after.shape) == (before.dtype, before.shape) and np.array_equal(before, kept)
    after += 1  # an array of its own
    after -= 1
    wanted = expected(folder(channels), torch.from_numpy(planes.astype(np.float32) / LEVELS.get(dtype, 1))[None])[0]
    found = {"HW": after[None], "HWC": np.moveaxis(after, -1, 0), "CHW": after}[layout]
    close(found, wanted, dtype)


@pytest.mark.parametrize("mode, channels", [("L", 1), ("I;16", 1), ("RGB", 3), ("LA", 2), ("RGBA", 4)])
def test_pil_images_keep_their_mode(folder, expected, mode, channels):
    dtype = "uint16" if mode == "I;16" else "uint8"
    planes = stored(unit(channels), dtype)
    (after,) = refined(folder(channels), Image.fromarray(np.squeeze(planes.transpose(1, 2, 0))))
    assert (after.mode, after.size) == (mode, (16, 12))
    wanted = expected(folder(channels), torch.from_numpy(planes.astype(np.float32) / LEVELS[dtype])[None])[0]
    close(np.moveaxis(np.atleast_3d(np.asarray(after)), -1, 0), wanted, dtype)


@pytest.mark.parametrize(
    "dtype, shape",
    [
        *((dtype, (1, 12, 16)) for dtype in (torch.uint8, torch.float16, torch.bfloat16, torch.float64)),
        *((torch.float32, shape) for shape in ((12, 16), (1, 12, 16))),
    ],
)
def test_tensors_keep_shape_and_dtype(folder, expected, dtype, shape):
    level = 255 if dtype == torch.uint8 else 1
    before = (unit() * level).to(dtype).reshape(shape)
    (after,) = refined(folder(), before)
    assert (after.dtype, after.shape) == (dtype, before.shape)
    wanted = expected(folder(), before.float().div(level).reshape(1, 1, 12, 16)).reshape(shape)
    tolerance = {torch.uint8: 0.6 / 255, torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-5)
    torch.testing.assert_close(after.float() / level, wanted, atol=tolerance, rtol=0)
    torch.testing.assert_close(
        LazyRefine(folder())(before.reshape(1, 1, 12, 16), keys=torch.arange(1), seed=0).reshape(shape),
        after,
    )


def test_mixed_kinds_and_sizes_come_back_in_order_one_pass_a_size(folder, monkeypatch):
    images = [
        stored(unit(seed=1)[0], "uint8"),
        unit(height=9, seed=2),
        Image.fromarray(stored(unit(seed=3)[0], "uint8")),
        unit(height=9, seed=4).numpy(),
        stored(unit(seed=5)[0], "uint16"),
    ]
    seen, call = [], LazyRefine.__call__
    monkeypatch.setattr(LazyRefine, "__call__", lambda self, x, **more: seen.append(len(x)) or call(self, x, **more))
    together = refined(folder(noise=1), *images)
    assert seen == [3, 2]
    assert [type(image) for image in together] == [type(image) for image in images]
    for place, image in enumerate(images):
        (alone,) = refine_images(LazyRefine(folder(noise=1)), [image], keys=torch.tensor([place]), seed=0)
        found, wanted = np.asarray(together[place]), np.asarray(alone)
        np.testing.assert_allclose(
            found.astype(float), wanted.astype(float), atol=1 if found.dtype.kind == "u" else 1e-5
        )
    assert refined(folder()) == []


def test_some_images_are_refined_and_the_others_returned(folder):
    images = [stored(unit(seed=seed)[0], "uint8") for seed in range(20)]
    options = {"keys": torch.arange(20), "names": [str(index) for index in range(20)]}
    refine = LazyRefine(folder())
    found = refine_some(refine, images, p=0.5, seed=0, **options)
    again = refine_some(refine, images, p=0.5, seed=0, **options)
    everything = refine_some(refine, images, p=1.0, seed=0, **options)
    picked = [one is not image for one, image in zip(found, images, strict=True)]
    assert 0 < sum(picked) < 20
    for one, other, whole, changed in zip(found, again, everything, picked, strict=True):
        assert np.array_equal(one, other)
        assert not changed or np.abs(one.astype(int) - whole.astype(int)).max() <= 1


TAKES_GREY = r"this refiner takes images \(H, W, 1\) or \(1, H, W\) or \(H, W\), given "
BAD = [
    (np.zeros((12, 16, 3), np.uint8), TAKES_GREY + r"ndarray \(12, 16, 3\)"),
    (np.zeros((2, 1, 12, 16), np.float32), TAKES_GREY + r"ndarray \(2, 1, 12, 16\)"),
    (Image.new("RGB", (16, 12)), TAKES_GREY + r"Image \(12, 16, 3\)"),
    (torch.zeros(12, 16, 1), TAKES_GREY + r"Tensor \(12, 16, 1\)"),
    (np.zeros((12, 16), np.int64), r"images are uint8, uint16 or float in \[0, 1\], given int64"),
    (np.zeros((12, 16), bool), "given bool"),
    (np.full((12, 16), 200.0), r"values from 200 to 200"),
    (np.full((12, 16), -1.0), "values from -1 to -1"),
    (np.full((12, 16), np.nan), "NaN"),
    (torch.zeros(1, 12, 16, dtype=torch.int32), "given torch.int32"),
    (Image.new("P", (16, 12)), "mode P"),
    (Image.new("F", (16, 12)), "mode F"),
    ("eye.png", "str is not an image"),
    (b"\x89PNG", "bytes is not an image"),
]


def test_anything_but_an_image_is_an_error(folder):
    for image, message in BAD:
        with pytest.raises(UserError, match=message):
            refined(folder(), image)


def test_an_error_names_the_image(folder):
    for wrong in (np.full((12, 16), 200.0), torch.full((12, 16), 200.0)):
        with pytest.raises(UserError, match=r"^row 1: values from 200 to 200"):
            refined(folder(), wrong / 200, wrong, names=["row 0", "row 1"])


def test_batches_of_the_wrong_shape_are_an_error(folder):
    colour = LazyRefine(folder(3))
    with pytest.raises(UserError, match=r"takes images \(3, H, W\), given tensor \(12, 16, 3\)"):
        colour(torch.zeros(2, 12, 16, 3), keys=torch.arange(2), seed=0)
