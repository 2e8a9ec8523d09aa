from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch import Tensor

from synthreal import UserError
from synthreal.metrics import sliced_wasserstein


def images(n: int, seed: int, size: tuple[int, int] = (32, 36), channels: int = 1) -> Tensor:
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed))


def distance(a: Tensor, b: Tensor, seed: int = 0, **options: int) -> Tensor:
    given = {"patches": 2000, "projections": 32, **options}
    return sliced_wasserstein(a, b, generator=torch.Generator().manual_seed(seed), **given)


def slow(a: Tensor, b: Tensor, levels: int, patches: int, projections: int) -> list[float]:
    """The same draws, everything else in numpy loops and scipy convolutions."""
    generator = torch.Generator().manual_seed(0)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    result = []
    sets = [a.double().numpy(), b.double().numpy()]
    for level in range(levels):
        place = torch.rand(patches, 3, generator=generator).double().numpy()
        axes = torch.randn(a.shape[1] * 49, projections, generator=generator).double().numpy()
        axes /= np.sqrt((axes**2).sum(0))
        smaller, bands = [], []
        for data in sets:
            half = [[convolve(c, kernel, mode="mirror")[::2, ::2] for c in image] for image in data]
            band = data.copy()
            if level < levels - 1:
                for i, image in enumerate(half):
                    for c, channel in enumerate(image):
                        raised = np.zeros(data.shape[2:])
                        raised[::2, ::2] = channel
                        band[i, c] -= convolve(raised, 4 * kernel, mode="mirror")
            smaller.append(np.array(half))
            bands.append(band)
        sorted_values = []
        for band in bands:
            n, _, height, width = band.shape
            taken = np.empty((patches, band.shape[1], 7, 7))
            for p, (i, y, x) in enumerate(place):
                row, column = int(y * (height - 6)), int(x * (width - 6))
                taken[p] = band[int(i * n), :, row : row + 7, column : column + 7]
            for c in range(band.shape[1]):
                taken[:, c] = (taken[:, c] - taken[:, c].mean()) / taken[:, c].std(ddof=1)
            sorted_values.append(np.sort(taken.reshape(patches, -1) @ axes, axis=0))
        result.append(float(np.abs(sorted_values[0] - sorted_values[1]).mean()))
        sets = smaller
    return result


@pytest.mark.parametrize(("channels", "size"), [(1, (35, 55)), (3, (29, 28))])
def test_it_equals_a_slow_oracle(channels, size):
    a, b = images(9, 1, size, channels), images(7, 2, size, channels) ** 2
    fast = distance(a, b, patches=500, projections=8)
    assert fast.tolist() == pytest.approx(slow(a, b, 3, 500, 8), rel=1e-3)


def test_the_distance_is_symmetric_and_zero_between_equal_sets():
    a, b = images(10, 0), images(14, 1) ** 3
    assert distance(a, a).tolist() == [0, 0, 0]
    assert torch.allclose(distance(a, b), distance(b, a))


def test_it_grows_with_structure_and_ignores_brightness_and_contrast():
    a = images(40, 0)
    smeared = [(1 - t) * a + t * a.roll(1, 3) for t in (0.1, 0.3, 0.5)]
    far = [distance(a, b).mean().item() for b in smeared]
    assert 0 < far[0] < far[1] < far[2]
    assert distance(a, 0.2 + 0.5 * a).max() < 1e-3


def test_there_is_one_distance_per_level():
    assert distance(images(10, 0), images(10, 1) ** 4, levels=2).shape == (2,)


def test_more_patches_and_projections_reduce_the_variance():
    a, b = images(30, 0), images(30, 1)

    def spread(**options: int) -> float:
        return torch.stack([distance(a, b, seed, **options).mean() for seed in range(6)]).std().item()

    assert distance(a, b, patches=8000).mean() < distance(a, b, patches=200).mean()
    assert spread(projections=64, patches=500) < spread(projections=1, patches=500)


def test_parts_of_large_sets_give_the_same_patches(monkeypatch):
    a, b = images(20, 0), images(13, 1) ** 2
    whole = distance(a, b)
    monkeypatch.setattr("synthreal.metrics.inputs.PART_VALUES", 16 * 32 * 36 * 3)
    torch.testing.assert_close(distance(a, b), whole)


def test_invalid_images_are_an_error():
    for a, b, levels, named in [
        (images(4, 0), images(4, 0, (36, 32)), 3, "one size"),
        (images(4, 0)[:0], images(4, 0), 3, "at least 1 images"),
        (images(4, 0, (20, 20)), images(4, 1, (20, 20)), 3, "levels is 3"),
        (images(4, 0), images(4, 1), 0, "levels is 0"),
    ]:
        with pytest.raises(UserError, match=named):
            distance(a, b, levels=levels)
