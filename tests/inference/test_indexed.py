"""A refined image is a function of the image, its index, the seed and the version, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthreal.core.noise import indexed_choice
from synthreal.data.seed import derive_seed
from synthreal.inference.indexed import IndexedRefiner
from synthreal.inference.luma import luma, replace_luma
from synthreal.inference.transform import Refine


@pytest.fixture
def images():
    return torch.rand(20, 1, 12, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("version", range(3))
def test_other_images_and_their_number_do_not_matter(noisy, images, version):
    refine = Refine.load(noisy, device="cpu")
    refine.micro_batch = 8
    refiner, index = IndexedRefiner(refine, seed=1), torch.arange(20)
    whole = refiner(images, index, full=24, version=version)
    for rows in (slice(0, 1), slice(3, 4), slice(5, 16)):
        assert torch.equal(refiner(images[rows], index[rows], full=24, version=version), whole[rows])
    mixed = torch.tensor([7, 2, 19])
    assert torch.equal(refiner(images[mixed], index[mixed], full=24, version=version), whole[mixed])


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


def test_versions_above_0_are_in_the_style_of_a_random_real_image(run_of, images, device):
    blended = run_of("evaluation.histogram.blend=0.5", "refiner.options.noise_channels=1")
    transform, index, images = Refine.load(blended, device=device), torch.arange(20, device=device), images.to(device)
    styles = transform.about.styles.to(device)
    for version in range(5):
        found = IndexedRefiner(transform, seed=3)(images, index.cpu(), full=20, version=version)
        refined = transform(images, transform.noise_of(index, (12, 16), seed=3, version=version))
        rows = indexed_choice(index, 7, derive_seed(version, "style", 3))
        torch.testing.assert_close(found, styles.adapt(refined, rows, version, blend=0.5), atol=1e-5, rtol=0)


def test_styles_depend_on_index_seed_and_version(plain, images):
    def styled(index=0, seed=0, version=1):
        refiner = IndexedRefiner(Refine.load(plain, device="cpu"), seed=seed)
        return refiner(images[:1], torch.tensor([index]), full=1, version=version)

    for version in (1, 2):
        assert torch.equal(styled(version=version), styled(version=version))
        for name in ("index", "seed"):
            others = [styled(**{name: value}, version=version) for value in range(1, 4)]
            assert max((other - styled(version=version)).abs().max() for other in others) > 1e-3
    assert len({styled(version=version).numpy().tobytes() for version in (1, 3, 5, 7, 9)}) > 1


@pytest.mark.parametrize("version", [1, 2])
def test_tiles_are_put_together_before_they_take_a_style(plain, version):
    transform, image = Refine.load(plain, device="cpu"), torch.rand(1, 1, 61, 83)
    whole, tiled = (
        IndexedRefiner(transform, seed=5, tile=tile)(image, torch.tensor([3]), full=1, version=version)
        for tile in (None, 24)
    )
    torch.testing.assert_close(tiled, whole, atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_rgb_images_are_refined_like_grey_images(plain, dtype):
    grey = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 1, 12, 16)).astype(dtype)
    refiner = IndexedRefiner(Refine.load(plain, device="cpu"), seed=0)
    expected = refiner.refine_stored(grey, [0, 1, 2], full=4, versions=3)
    found = refiner.refine_stored(np.repeat(grey, 3, axis=1), [0, 1, 2], full=4, versions=3)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other.expand(-1, 3, -1, -1))


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
