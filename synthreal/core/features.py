"""psi: the feature transforms on which self-regularization compares x and R(x) (paper Eq. 4 and 2.1).

Each is a differentiable module ``(B, C, H, W)`` in [0, 1] to ``(B, D, h, w)`` without trainable parameters. The paper
uses the identity for all its numbers and the channel mean for its colour figure, and mentions image derivatives and
learned transforms. kornia does the filtering; it is imported on first use.
"""

from __future__ import annotations

from zipfile import BadZipFile

import torch
from torch import Tensor, nn


def gaussian_side(sigma: float) -> int:
    """Side in px of a Gaussian kernel: odd, with a radius of 3 ``sigma`` px, at least 1."""
    return 2 * max(1, round(3 * sigma)) + 1


class Blur(nn.Module):
    """Gaussian blur: structure finer than ``sigma`` pixels may change."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma
        self.side = gaussian_side(sigma)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        from kornia.filters import gaussian_blur2d

        return gaussian_blur2d(image, (self.side, self.side), (self.sigma, self.sigma), border_type="replicate")


class Gradients(nn.Module):
    """Image derivatives by Sobel filters: ``(B, C, H, W) -> (B, 2C, H, W)``, x then y for each channel.

    With ``sigma`` > 0 the image is blurred first (derivatives of a Gaussian): edges stay in place, while grain,
    sharpness and other structure finer than ``sigma`` pixels may change.
    """

    kernel: Tensor

    def __init__(self, sigma: float = 0.0) -> None:
        super().__init__()
        from kornia.filters import get_spatial_gradient_kernel2d
        from kornia.filters.kernels import normalize_kernel2d

        self.blur = Blur(sigma) if sigma > 0 else nn.Identity()
        # a buffer, because kornia's spatial_gradient copies its kernel from the host in every call
        kernel = normalize_kernel2d(get_spatial_gradient_kernel2d("sobel", 1))
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, 2C, H, W)``."""
        from kornia.filters import filter2d

        smooth = self.blur(image)
        derivatives = [filter2d(smooth, kernel[None], border_type="replicate") for kernel in self.kernel]
        return torch.stack(derivatives, dim=2).flatten(1, 2)


class ChannelMean(nn.Module):
    """Mean over channels, ``(B, C, H, W) -> (B, 1, H, W)``: colour may change."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, 1, H, W)``."""
        return image.mean(dim=1, keepdim=True)


class Laplacian(nn.Module):
    """Laplacian: brightness and slow shading may change."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, C, H, W)``."""
        from kornia.filters import laplacian

        return laplacian(image, self.kernel, border_type="replicate", normalized=True)


class Learned(nn.Module):
    """A frozen module ``(B, C, H, W) -> (B, D, h, w)``; gradients pass through it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        if not isinstance(module, torch.fx.GraphModule):  # an exported program is always in eval mode
            module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Learned:
        """Stay in eval mode, because dropout and batch statistics would add noise to psi."""
        return self

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, D, h, w)``."""
        features: Tensor = self.module(image)
        return features

    @classmethod
    def load(cls, path: str) -> Learned:
        """Load a program saved with ``torch.export.save``; its batch dimension must be dynamic.

        A crafted file can execute code when it is loaded.

        Raises:
            OSError: no such file.
            RuntimeError: the archive holds something else.
            ValueError: not an archive.
        """
        try:
            return cls(torch.export.load(path).module())
        except (BadZipFile, KeyError) as error:  # KeyError: torch 2.6 looks for a file that a checkpoint does not hold
            raise ValueError(str(error)) from error
