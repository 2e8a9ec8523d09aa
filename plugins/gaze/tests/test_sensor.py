from __future__ import annotations

import numpy as np
import pytest
import torch
from gaze_fixtures import equalize_hist, to_bytes
from scipy.fft import dctn, idctn

from synthreal_gaze.sensor import LUMINANCE, equalise, jpeg


def slow_jpeg(image: np.ndarray, coarseness: float, down: int, across: int) -> np.ndarray:
    framed = np.pad(image * 255 - 128, ((down, 48 - 35 - down), (across, 64 - 55 - across)), mode="edge")
    for row in range(0, 48, 8):
        for column in range(0, 64, 8):
            block = dctn(framed[row : row + 8, column : column + 8], norm="ortho")
            step = coarseness * np.array(LUMINANCE)
            framed[row : row + 8, column : column + 8] = idctn(np.round(block / step) * step, norm="ortho")
    return (framed[down : down + 35, across : across + 55] + 128) / 255


def test_jpeg_equals_quantisation_block_by_block():
    image = torch.rand(4, 35, 55, generator=torch.Generator().manual_seed(0))
    offset = torch.tensor([[0, 0], [3, 5], [7, 7], [1, 6]])
    coarseness = torch.tensor([0.2, 0.5, 1.0, 2.0])[:, None, None]
    result = jpeg(image, coarseness, offset)
    for k in range(4):
        slow = slow_jpeg(image[k].double().numpy(), coarseness[k].item(), *offset[k].tolist())
        assert np.abs(result[k].numpy() - slow).mean() < 2e-3  # a tie may round the other way in float32


def test_jpeg_error_grows_with_coarseness():
    image = torch.rand(8, 35, 55, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(8, 2, dtype=torch.long)
    loss = [(jpeg(image, torch.full((8, 1, 1), c), none) - image).abs().mean().item() for c in (0.05, 0.5, 2.0)]
    assert loss[0] < 0.02 < loss[1] < loss[2]
    flat = torch.full((8, 35, 55), 128 / 255)
    assert torch.allclose(jpeg(flat, torch.ones(8, 1, 1), none), flat, atol=1e-4)


def test_equalisation_is_that_of_opencv():
    generator = torch.Generator().manual_seed(0)
    contrast = torch.tensor([0.02, 0.1, 0.3, 1.2])[:, None, None]  # the last is overexposed
    image = 0.2 + contrast * torch.rand(4, 35, 55, generator=generator) ** 2
    result = equalise(image)
    for k in range(4):
        assert np.array_equal((result[k] * 255).numpy().round(), equalize_hist(to_bytes(image[k])))
    assert result.flatten(1).amin(1).tolist() == [0] * 4
    assert result.flatten(1).amax(1).tolist() == [1] * 4


def test_an_equalised_image_of_one_level_is_unchanged():
    flat = torch.tensor([0.0, 0.4, 1.0])[:, None, None].expand(3, 35, 55)
    assert torch.equal(equalise(flat), flat)


@pytest.mark.parametrize("size", [(35, 55), (40, 24)])
def test_jpeg_takes_any_size(size):
    image = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    fine = jpeg(image, torch.full((2, 1, 1), 1e-3), torch.tensor([[4, 2], [0, 7]]))
    assert torch.allclose(fine, image, atol=1e-3)
