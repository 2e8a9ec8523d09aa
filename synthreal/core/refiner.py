"""The refiner R: a fully convolutional residual network that changes how an image looks and keeps its size.

Source: SimGAN 2.1 and 3.1. Gaze: 3x3 stem to 64 maps, 4 blocks, 1x1 head (296,129 parameters, receptive field 19);
hands: 7x7, 10 blocks (4,018,625 parameters, receptive field 127). Images are [0, 1] outside and [-1, 1] inside,
because of the tanh head. Three options go beyond the paper: the padding of the convolutions (zero padding leaves a
visible frame along the border); Gaussian noise maps concatenated to the input, which give one image many refined
versions; and pixel values that stay unchanged, for constant backgrounds and missing measurements.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from synthreal.core.convolution import Convolution, Padding, receptive_field


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, add the input, ReLU: ``(B, width, H, W)`` to the same shape."""

    def __init__(self, width: int, kernel: int, padding: Padding) -> None:
        super().__init__()
        self.first = Convolution(width, width, kernel, padding)
        self.second = Convolution(width, width, kernel, padding)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, width, H, W) -> (B, width, H, W)``."""
        inside = torch.relu_(self.first(maps))  # in place: the backward pass of a convolution does not need its output
        out: Tensor = self.second(inside)
        return out.add_(maps).relu_()


class Refiner(nn.Module):
    """R: ``(B, C, H, W)`` in [0, 1] to the same, any H and W.

    Args:
        channels: C of the images.
        kernel: odd side of the stem's and blocks' convolutions in pixels.
        blocks: residual blocks.
        width: feature maps.
        padding: padding mode of the convolutions.
        noise_channels: K Gaussian maps concatenated to the input; 0 is the paper's network.
        kept: values in [0, 1]; pixels that equal one of them in every channel stay unchanged.

    Attributes:
        smallest: smallest accepted side of an image in pixels; reflection padding needs larger images.
        receptive_field: side in pixels of the input area that one refined pixel depends on.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        kernel: int = 3,
        blocks: int = 4,
        width: int = 64,
        padding: Padding = "zeros",
        noise_channels: int = 0,
        kept: tuple[float, ...] = (),
    ) -> None:
        super().__init__()
        self.noise_channels = noise_channels
        self.kept = kept
        self.smallest = kernel // 2 + 1 if padding == "reflect" else 1
        self.stem = Convolution(channels + noise_channels, width, kernel, padding)
        self.blocks = nn.Sequential(*(ResidualBlock(width, kernel, padding) for _ in range(blocks)))
        self.head = nn.Conv2d(width, channels, 1)
        self.receptive_field = receptive_field([(kernel, 1)] * (1 + 2 * blocks) + [(1, 1)])

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] to the same; standard normal ``noise (B, K, H, W)`` is required if K > 0."""
        given = 0 if noise is None else noise.shape[1]
        if given != self.noise_channels:
            raise ValueError(f"this refiner takes {self.noise_channels} noise maps, given {given}")
        maps = 2 * image - 1
        if noise is not None:
            maps = torch.cat([maps, noise.to(maps.dtype)], dim=1)
        maps = self.blocks(torch.relu_(self.stem(maps)))
        maps = self.head(maps)
        if maps.dtype != image.dtype:  # under autocast; a strict torch.export of `to()` assumes the dtype without it
            maps = torch.empty_like(maps, dtype=image.dtype).copy_(maps)
        refined = (torch.tanh(maps) + 1) / 2
        for value in self.kept:
            refined = torch.where((image == value).all(dim=1, keepdim=True), image, refined)
        return refined


def refine(
    refiner: nn.Module,
    image: Tensor,
    generator: torch.Generator | None,
    *,
    noise: Tensor | None = None,
    micro_batch: int | None = None,
) -> Tensor:
    """R(x), ``(B, C, H, W)`` to the same shape, with new noise maps if the refiner takes them and none are given.

    Noise is drawn on the generator's device (the image's if None), so the same generator state gives the same result.
    At most ``micro_batch`` images pass through R at once; None for all.
    """
    noise = noise_for(refiner, image, generator) if noise is None else noise
    if micro_batch is None:
        return refine_with(refiner, image, noise)  # without len(image), which torch.export would fix
    parts = [
        refine_with(refiner, image[rows], None if noise is None else noise[rows])
        for rows in equal_slices(len(image), micro_batch)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def noise_for(
    refiner: nn.Module, image: Tensor, generator: torch.Generator | None, *, rank: int = 0, size: int = 1
) -> Tensor | None:
    """The noise maps ``(B, K, H, W)`` that a refiner takes, on the images' device; None if it takes none.

    With several processes (``size``), each draws those of the whole mini-batch, from generators in the same state, and
    takes those of its ``rank``.
    """
    noise_channels = getattr(refiner, "noise_channels", 0)
    if not noise_channels:
        return None
    count = image.shape[0]
    shape = (count * size, noise_channels, *image.shape[-2:])
    if generator is None:  # not passed on: with dynamic sizes, torch.compile and torch.export accept no generator
        noise = torch.randn(shape, device=image.device)
    else:
        noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise[rank * count : (rank + 1) * count].to(image.device)


def refine_with(refiner: nn.Module, image: Tensor, noise: Tensor | None) -> Tensor:
    """R(x) with the given noise maps, or without."""
    out: Tensor = refiner(image) if noise is None else refiner(image, noise)
    return out


def equal_slices(count: int, size: int | None) -> Iterator[slice]:
    """Equal slices of ``range(count)``, at most ``size`` long, or a single one; the last may be shorter."""
    parts = 1 if size is None else max(1, -(-count // size))
    each = -(-count // parts)
    for part in range(parts):
        yield slice(part * each, min((part + 1) * each, count))
