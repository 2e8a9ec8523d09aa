"""A refined image is a function of the image, its index, the seed and the version, and of nothing else."""

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


def test_other_images_and_their_number_do_not_matter(noisy, images):
    refine = Refine.load(noisy, device="cpu")
    refine.micro_batch = 8
    refiner, index = IndexedRefiner(refine, seed=1), torch.arange(20)
    whole = refiner(images, index, full=24)
    for rows in (slice(0, 1), slice(3, 4), slice(5, 16)):
        assert torch.equal(refiner(images[rows], index[rows], full=24), whole[rows])
    mixed = torch.tensor([7, 2, 19])
    assert torch.equal(refiner(images[mixed], index[mixed], full=24), whole[mixed])


def test_batches_are_always_full(noisy, images):
    refine, seen = Refine.load(noisy, device="cpu"), []
    refine.micro_batch = 8
    refine.refiner.register_forward_pre_hook(lambda network, given: seen.append(len(given[0])))
    IndexedRefiner(refine, seed=1)(images[:9], torch.arange(9), full=24)
    assert seen == [8, 8]  # the third would be copies alone


def test_noise_depends_on_index_seed_and_version(noisy, images):
    def refined(index=0, seed=0, version=0):
        return IndexedRefiner(Refine.load(noisy, device="cpu"), seed=seed)(
            images[:1], torch.tensor([index]), full=1, version=version
        )

    assert torch.equal(refined(), refined())
    for name in ("index", "seed", "version"):
        assert (refined(**{name: 1}) - refined()).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_rgb_images_are_refined_like_grey_images(plain, dtype):
    grey = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 1, 12, 16)).astype(dtype)
    refiner = IndexedRefiner(Refine.load(plain, device="cpu"), seed=0)
    (expected,) = refiner.refine_stored(grey, [0, 1, 2], full=4)
    (found,) = refiner.refine_stored(np.repeat(grey, 3, axis=1), [0, 1, 2], full=4)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected.expand(-1, 3, -1, -1))


def test_luma_changes_and_chroma_stays_the_same():
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
