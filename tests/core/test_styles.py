"""Styles: albumentations and slow loops as oracles, the effect of each setting, plain images, independent rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from synthreal.core.styles import fda, histogram, pixel_distribution

SIZES = [(1, 35, 55), (3, 32, 32), (1, 10, 14), (3, 21, 16), (3, 9, 9)]
LEVEL = 1 / 255
ALL = {
    "fda": lambda x, y: fda(x, y, beta=0.2),
    "histogram": lambda x, y: histogram(x, y, blend=1.0),
    **{
        kind: lambda x, y, kind=kind: pixel_distribution(x, y, transform=kind, blend=1.0)
        for kind in ("standard", "pca", "minmax")
    },
}


def pictures(channels, height, width, count=8, seed=0, levels=255):
    """Smooth images of different brightness and contrast, with correlated channels."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height // 4 + 1, width // 4 + 1)
    smooth = F.interpolate(torch.rand(shape, generator=generator), (height, width), mode="bicubic").clamp(0, 1)
    smooth = 0.6 * smooth.mean(1, keepdim=True) + 0.4 * smooth
    low, gain = torch.rand(2, count, channels, 1, 1, generator=generator)
    return ((0.4 * low + (0.2 + 0.4 * gain) * smooth) * levels).round() / levels


def pair(channels, height, width, levels=255):
    return (pictures(channels, height, width, seed=seed, levels=levels) for seed in (0, 1))


@pytest.fixture
def oracle():
    """``oracle("FDA", images, references, **options)``: albumentations, image by image."""
    albumentations = pytest.importorskip("albumentations")

    def adapt(name, images, references, **options):
        transform = getattr(albumentations, name)(p=1.0, metadata_key="references", **options)
        x, y = (np.ascontiguousarray(part.permute(0, 2, 3, 1).numpy()) for part in (images, references))
        adapted = [transform(image=one, references=[other])["image"] for one, other in zip(x, y, strict=True)]
        return torch.from_numpy(np.stack(adapted)).permute(0, 3, 1, 2).clamp(0, 1)

    return adapt


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.2, 0.35])
def test_fda_is_that_of_albumentations(oracle, size, beta):
    x, y = pair(*size)
    torch.testing.assert_close(fda(x, y, beta=beta), oracle("FDA", x, y, beta_limit=(beta, beta)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("blend", [1.0, 0.3])
def test_histograms_are_matched_as_by_albumentations_which_rounds_down(oracle, size, blend):
    x, y = pair(*size)
    lighter = histogram(x, y, blend=blend) - oracle("HistogramMatching", x, y, blend_ratio=(blend, blend))
    assert lighter.min() >= -1e-4 and lighter.max() <= blend * LEVEL + 1e-4


@pytest.mark.parametrize("levels", [7, 255, 65535])
def test_histograms_of_any_depth_are_matched(levels):
    x, y = pair(3, 21, 16, levels=levels)
    found = histogram(x, y, blend=1.0)
    for image, reference, matched in zip(x.flatten(0, 1), y.flatten(0, 1), found.flatten(0, 1), strict=True):
        _, index, counts = np.unique(image.numpy(), return_inverse=True, return_counts=True)
        wanted, wanted_counts = np.unique(reference.numpy(), return_counts=True)
        expected = np.interp(counts.cumsum(), wanted_counts.cumsum(), wanted)[index]
        np.testing.assert_allclose(matched, expected.reshape(matched.shape), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_pixel_distributions_are_those_of_albumentations(oracle, size, kind):
    x, y = pair(*size)
    expected = oracle("PixelDistributionAdaptation", x, y, transform_type=kind, blend_ratio=(1.0, 1.0))
    torch.testing.assert_close(pixel_distribution(x, y, transform=kind, blend=1.0), expected, atol=1e-4, rtol=0)


def axes_of(images):
    """Mean, principal axes in rows, and variances of one image, by albumentations."""
    utils = pytest.importorskip("albumentations.augmentations.utils")
    fitted = utils.PCA()
    fitted.fit(images.flatten(1).T.double().numpy())
    return fitted.mean, fitted.components_, fitted.explained_variance_


def test_pca_matches_the_covariance_along_the_axes_of_albumentations():
    x, y = pair(3, 32, 32)
    found = ALL["pca"](x, y)
    for image, reference, adapted in zip(x, y, found, strict=True):
        (mean, axes, variances), (wanted_mean, wanted_axes, wanted_variances) = axes_of(image), axes_of(reference)
        scale = np.sqrt(wanted_variances / variances) * np.sign((axes * wanted_axes).sum(1))
        expected = (image.flatten(1).T.numpy() - mean) @ axes.T * scale @ wanted_axes + wanted_mean
        np.testing.assert_allclose(adapted.flatten(1).T, expected.clip(0, 1), atol=1e-4)
        if 0 <= expected.min() and expected.max() <= 1:
            np.testing.assert_allclose(np.cov(adapted.flatten(1)), np.cov(reference.flatten(1)), atol=1e-5)


def test_pca_is_that_of_albumentations_where_the_variances_are_equal(oracle):
    x = pictures(3, 32, 32, count=20)
    turn, _ = torch.linalg.qr(torch.eye(3) + 0.2 * torch.rand(3, 3, generator=torch.Generator().manual_seed(0)))
    turned = (turn @ (x.flatten(2) - x.flatten(2).mean(-1, keepdim=True))).view_as(x)
    y = ((turned + 0.5) / LEVEL).round() * LEVEL
    axes = [(axes_of(one)[1], axes_of(other)[1]) for one, other in zip(x, y, strict=True)]
    same_way = [bool(((a * b).sum(1) > 0).all() and np.trace(a) * np.trace(b) > 0) for a, b in axes]
    assert sum(same_way) >= 3  # images for which albumentations mixes up no directions
    expected = oracle("PixelDistributionAdaptation", x, y, transform_type="pca", blend_ratio=(1.0, 1.0))
    torch.testing.assert_close(ALL["pca"](x, y)[same_way], expected[same_way], atol=LEVEL, rtol=0)


def test_pca_of_grey_images_is_standard():
    x, y = pair(1, 10, 14)
    torch.testing.assert_close(ALL["pca"](x, y), ALL["standard"](x, y), atol=1e-5, rtol=0)


def test_each_setting_changes_the_result_and_blending_is_linear():
    x, y = pair(3, 32, 32)
    kinds = [ALL[kind](x, y) for kind in ("standard", "pca", "minmax")]
    for one, other in [*pairwise(kinds), (fda(x, y, beta=0.1), fda(x, y, beta=0.2))]:
        assert (one - other).abs().mean() > 0.005
    torch.testing.assert_close(histogram(x, y, blend=0.25), torch.lerp(x, ALL["histogram"](x, y), 0.25))
    for kind, whole in zip(("standard", "pca", "minmax"), kinds, strict=True):
        torch.testing.assert_close(pixel_distribution(x, y, transform=kind, blend=0.25), torch.lerp(x, whole, 0.25))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("shade", [0.0, 0.3, 1.0])
def test_plain_images_become_plain_and_plain_references_make_plain(name, size, shade):
    y, plain = pictures(*size), torch.full((8, *size), shade)
    found = ALL[name](plain, y)
    assert (found.amax((2, 3)) - found.amin((2, 3))).max() < 1e-3
    goal = {"histogram": y.amax((2, 3)), "minmax": y.amin((2, 3))}.get(name, y.mean((2, 3)))
    torch.testing.assert_close(found.mean((2, 3)), goal, atol=1e-3, rtol=0)
    if name == "fda":  # high frequencies are not those of the reference
        torch.testing.assert_close(fda(y, plain, beta=0.2).mean((2, 3)), plain.mean((2, 3)), atol=0.1, rtol=0)
    else:
        torch.testing.assert_close(ALL[name](y, plain), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_rows_are_independent_and_results_are_images(name, device):
    x, y = (part.to(device) for part in pair(3, 21, 16))
    found = ALL[name](x, y)
    assert (found.shape, found.dtype, found.device) == (x.shape, torch.float32, x.device)
    assert 0 <= found.min() and found.max() <= 1
    for row in range(len(x)):
        torch.testing.assert_close(ALL[name](x[row, None], y[row, None])[0], found[row], atol=1e-4, rtol=0)
    torch.testing.assert_close(ALL[name](x.contiguous(memory_format=torch.channels_last), y), found, atol=1e-4, rtol=0)
    torch.testing.assert_close(ALL[name](x.cpu(), y.cpu()), found.cpu(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_images_or_references(name, device):
    x, y = (part.to(device) for part in pair(3, 21, 16))
    if name != "pca":  # a plain image has no axes
        x[0] = 0.5
    given = (y if name == "histogram" else x).requires_grad_()  # the ranks of pixels have no gradient
    (ALL[name](x, y) * torch.rand(x.shape, device=device)).sum().backward()
    assert given.grad.isfinite().all() and (given.grad[1:].abs().amax((1, 2, 3)) > 0.01).all()
