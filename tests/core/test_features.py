"""psi against numpy loops, and the changes to which each psi is invariant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from synthreal.core.features import Blur, ChannelMean, Gradients, Laplacian, Learned
from synthreal.errors import UserError
from synthreal.hooks.builtin import synthreal_features
from synthreal.spec import ImageSpec

SPECS = {spec.name: spec for spec in synthreal_features()}
IMAGE = ImageSpec(channels=2, height=7, width=9)
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """``(H, W)`` with a centred kernel, the border pixel repeated outside, one product at a time."""
    height, width = image.shape
    half = kernel.shape[0] // 2
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            for u in range(kernel.shape[0]):
                for v in range(kernel.shape[1]):
                    row, column = min(max(y + u - half, 0), height - 1), min(max(x + v - half, 0), width - 1)
                    out[y, x] += kernel[u, v] * image[row, column]
    return out


def each_channel(image: np.ndarray, *kernels: np.ndarray) -> np.ndarray:
    return np.stack([[correlate(channel, kernel) for channel in one for kernel in kernels] for one in image])


def laplacian_kernel(side: int) -> np.ndarray:
    kernel = np.ones((side, side))
    kernel[side // 2, side // 2] = 1 - side**2
    return kernel / np.abs(kernel).sum()


def gaussian_kernel(sigma: float) -> np.ndarray:
    half = max(1, round(3 * sigma))
    line = np.array([math.exp(-0.5 * (i / sigma) ** 2) for i in range(-half, half + 1)])
    line /= line.sum()
    return np.outer(line, line)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return each_channel(image, gaussian_kernel(sigma))


ORACLES = [
    ("identity", {}, lambda image: image),
    ("gradients", {}, lambda image: each_channel(image, SOBEL, SOBEL.T)),
    ("gradients", {"sigma": 1.2}, lambda image: each_channel(blurred(image, 1.2), SOBEL, SOBEL.T)),
    ("channel-mean", {}, lambda image: np.stack([[(one[0] + one[1]) / 2] for one in image])),
    ("blur", {}, lambda image: blurred(image, 1.0)),
    ("blur", {"sigma": 1.7}, lambda image: blurred(image, 1.7)),
    ("laplacian", {"kernel": 5}, lambda image: each_channel(image, laplacian_kernel(5))),
]


def built(name: str, **options: object) -> nn.Module:
    return SPECS[name].build(SPECS[name].options(**options), IMAGE)


@pytest.mark.parametrize(("name", "options", "oracle"), ORACLES)
def test_every_psi_in_loops(name, options, oracle, images, device):
    image = images(2, 2, 7, 9, dtype=torch.float64)
    features = built(name, **options).to(device)(image)
    expected = oracle(image.cpu().numpy())
    assert features.shape == expected.shape
    assert features.dtype == torch.float64
    np.testing.assert_allclose(features.cpu().numpy(), expected, rtol=1e-6, atol=1e-9)


def test_every_psi_is_differentiable_and_has_no_parameters(images, device):
    for name in sorted(SPECS.keys() - {"learned"}):
        psi = built(name).to(device)
        assert list(psi.parameters()) == []
        assert psi.state_dict() == {}
        image = images(1, 2, 4, 5, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(psi, (image,))


def ramp(device) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    return (0.1 + 0.05 * x + 0.03 * y).expand(1, 2, 6, 8).contiguous().to(device)


def test_gradients_read_slopes_x_then_y_for_each_channel(device):
    image = ramp(device)
    image[:, 1] *= 2
    slopes = Gradients().to(device)(image)[0, :, 2, 3]
    torch.testing.assert_close(slopes.cpu(), torch.tensor([0.05, 0.03, 0.1, 0.06]))
    torch.testing.assert_close(Gradients().to(device)(image + 0.2), Gradients().to(device)(image))


def test_laplacian_ignores_slow_shading(images, device):
    image = images(1, 2, 6, 8)
    shaded = Laplacian(3)(image + ramp(device)) - Laplacian(3)(image)
    assert float(shaded[..., 1:-1, 1:-1].abs().max()) < 1e-6
    assert float(shaded.abs().max()) > 1e-3  # the replicated border bends the ramp


def test_channel_mean_ignores_colour(images):
    image = images(2, 3, 4, 4)
    torch.testing.assert_close(ChannelMean()(image.flip(1)), ChannelMean()(image))


def test_blur_ignores_texture_but_not_shading(device):
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]], device=device).repeat(8, 8)[None, None]
    blurred = Blur(2.0)(board)
    assert float((blurred - 0.5)[..., 4:-4, 4:-4].abs().max()) < 0.01
    torch.testing.assert_close(Blur(2.0)(board + 1) - blurred, torch.ones_like(board))


def test_learned_features_are_frozen_and_propagate_gradients(images, device):
    convolution = nn.Conv2d(2, 3, 3, stride=2).to(device)
    psi = Learned(convolution)
    image = images(2, 2, 7, 9).requires_grad_()
    features = psi(image)
    assert features.shape == (2, 3, 3, 4)
    features.abs().sum().backward()
    assert float(image.grad.abs().sum()) > 0
    assert all(not p.requires_grad and p.grad is None for p in convolution.parameters())


def test_learned_features_from_a_file(tmp_path, images):
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(2, 3, 3, padding=1)

        def forward(self, image):
            return torch.relu(self.convolution(image))

    module, path = Module(), tmp_path / "psi.pt2"
    program = torch.export.export(
        module, (torch.rand(2, 2, 7, 9),), dynamic_shapes={"image": {0: torch.export.Dim("batch")}}
    )
    torch.export.save(program, path)
    psi = built("learned", path=str(path))
    assert all(not parameter.requires_grad for parameter in psi.parameters())
    for n in (1, 5):
        image = torch.rand(n, 2, 7, 9, requires_grad=True)
        features = psi(image)
        torch.testing.assert_close(features, module(image))
        features.sum().backward()
        assert float(image.grad.abs().sum()) > 0


def test_files_without_an_exported_program_are_refused(tmp_path):
    (tmp_path / "text.pt2").write_text("hello")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "checkpoint.pt2")
    for name in ("missing.pt2", "text.pt2", "checkpoint.pt2"):
        with pytest.raises(UserError, match=rf"{name}: .*torch\.export") as error:
            built("learned", path=str(tmp_path / name))
        assert "\n" not in str(error.value)
