from __future__ import annotations

import numpy as np
import pytest
import torch

from synthreal_gaze.texture import blur, noise, quantise, smoothstep


def test_noise_has_unit_variance_and_the_requested_grain():
    generator = torch.Generator().manual_seed(0)
    fine, coarse = (noise(400, 35, 55, cells, generator) for cells in ((17, 27), (4, 6)))
    for field in (fine, coarse):
        assert field.std() == pytest.approx(1, abs=0.05)
        assert field.var(0).amax() < 1.6

    def neighbour(field: torch.Tensor) -> float:
        return (field[:, :, 1:] * field[:, :, :-1]).mean().item()

    assert neighbour(fine) < 0.87 < 0.97 < neighbour(coarse)


def test_blur_equals_direct_convolution_away_from_the_borders():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 21, 23, generator=generator)
    down, across = torch.tensor([0.8, 1.5])[:, None, None], torch.tensor([1.1, 0.6])[:, None, None]
    result = blur(image, down, across)
    reach = np.arange(-10, 11)
    for k in range(2):
        rows, columns = (np.exp(-(reach**2) / (2 * s[k].item() ** 2)) for s in (down, across))
        kernel = np.outer(rows / rows.sum(), columns / columns.sum())
        assert result[k, 10, 11].item() == pytest.approx((kernel * image[k, :, 1:22].numpy()).sum(), abs=1e-4)
    assert torch.allclose(blur(torch.full((2, 21, 23), 0.3), down, across), torch.tensor(0.3))


def test_smoothstep_rises_or_falls():
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    assert smoothstep(x, 0, 1).tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(x, 1, 0).tolist() == [1, 1, 0.5, 0, 0]


def test_quantised_images_lie_on_the_eight_bit_grid():
    image = quantise(torch.tensor([[[-0.2, 0.1234, 1.7]]]))
    assert image.shape == (1, 1, 1, 3)
    assert torch.allclose(image.flatten(), torch.tensor([0, 31 / 255, 1.0]))
