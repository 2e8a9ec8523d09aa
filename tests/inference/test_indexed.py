"""What becomes of an image: a function of it, its index, the seed and the version, whatever lies beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.luma import luma, replace_luma
from synthreal.inference.transform import Refine


@pytest.fixture
def images():
    return torch.rand(20, 1, 12, 16, generator=torch.Generator().manual_seed(0))


def test_neighbours_and_the_number_of_images_do_not_matter(noisy, images):
    refine = Refine.load(noisy, device="cpu")
    refine.micro_batch = 8
    paint, index = IndexedRefiner(refine, seed=1), torch.arange(20)
    whole = paint(images, index, full=24)
    for rows in (slice(0, 1), slice(3, 4), slice(5, 16)):
        assert torch.equal(paint(images[rows], index[rows], full=24), whole[rows])
    mixed = torch.tensor([7, 2, 19])
    assert torch.equal(paint(images[mixed], index[mixed], full=24), whole[mixed])


def test_a_batch_is_always_full(noisy, images):
    refine, seen = Refine.load(noisy, device="cpu"), []
    refine.micro_batch = 8
    refine.refiner.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    IndexedRefiner(refine, seed=1)(images[:9], torch.arange(9), full=24)
    assert seen == [8, 8]  # the third would be copies alone


@pytest.mark.parametrize("change", [{"index": 1}, {"seed": 1}, {"version": 1}])
def test_noise_follows_index_seed_and_version(noisy, images, change):
    def painted(index=0, seed=0, version=0):
        return IndexedRefiner(Refine.load(noisy, device="cpu"), seed=seed)(
            images[:1], torch.tensor([index]), full=1, version=version
        )

    assert torch.equal(painted(), painted())
    assert (painted(**change) - painted()).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_without_colour_is_refined_as_grey(plain, dtype):
    grey = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 1, 12, 16)).astype(dtype)
    paint = IndexedRefiner(Refine.load(plain, device="cpu"), seed=0)
    (expected,) = paint.refine_stored(grey, [0, 1, 2], full=4)
    (found,) = paint.refine_stored(np.repeat(grey, 3, axis=1), [0, 1, 2], full=4)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected.expand(-1, 3, -1, -1))


def test_luma_changes_and_chroma_stays():
    image = torch.rand(2, 3, 5, 6)
    before = luma(image)
    red, green, blue = image.unbind(1)
    torch.testing.assert_close(before[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue)
    after = torch.rand(2, 1, 5, 6)
    new = replace_luma(image, before, after)
    assert new.min() >= -1e-6 and new.max() <= 1 + 1e-6
    torch.testing.assert_close(new - luma(new), image - before)
    inside = (image + after - before).amin(1).ge(0) & (image + after - before).amax(1).le(1)
    assert inside.any() and not inside.all()
    torch.testing.assert_close(luma(new)[:, 0][inside], after[:, 0][inside])
