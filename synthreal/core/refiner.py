"""The refiner R: a fully convolutional residual network that repaints an image and keeps its size.

Source: SimGAN 2.1 and 3.1. Gaze: 3x3 stem to 64 maps, 4 blocks, 1x1 head (296,129 parameters, receptive field 19);
hands: 7x7, 10 blocks (4,018,625 parameters, receptive field 127). Images are [0, 1] outside and [-1, 1] inside,
where the tanh head lives. Three options go beyond the paper: the padding of the convolutions (zeros paint a frame
along the border), Gaussian noise maps joined to the input, so that one image has many refined versions, and pixels
that are kept: the constant background of depth or of cut-out objects, and missing measurements, are no matter of looks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from synthreal.core.convolution import Convolution, Padding
from synthreal.core.receptive import receptive_field
from synthreal.distributed.processes import SINGLE_PROCESS, Processes


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, add the input, ReLU: ``(B, width, H, W) -> same``."""

    def __init__(self, width: int, kernel: int, padding: Padding) -> None:
        super().__init__()
        self.first = Convolution(width, width, kernel, padding)
        self.second = Convolution(width, width, kernel, padding)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, width, H, W) -> (B, width, H, W)``."""
        inside = torch.relu_(self.first(maps))  # in place: no convolution needs its own result again
        out: Tensor = self.second(inside)
        return out.add_(maps).relu_()


class Refiner(nn.Module):
    """R: ``(B, C, H, W)`` in [0, 1] to the same, any H and W.

    Args:
        channels: C of the images.
        kernel: odd side of the stem's and blocks' convolutions in pixels.
        blocks: residual blocks.
        width: feature maps.
        padding: how convolutions see beyond the border.
        noise_channels: K Gaussian maps joined to the input; 0 is the paper.
        kept: values in [0, 1]; pixels that equal one of them in every channel come out as they are.

    Attributes:
        smallest: the least side of an image in pixels: reflecting needs more than it reflects.
        receptive_field: side in pixels of what one refined pixel depends on.
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
        """Refine images.

        Args:
            image: ``(B, C, H, W)`` in [0, 1].
            noise: ``(B, K, H, W)`` standard normal, needed exactly when K > 0.

        Returns:
            ``(B, C, H, W)`` in [0, 1].
        """
        given = 0 if noise is None else noise.shape[1]
        if given != self.noise_channels:
            raise ValueError(f"this refiner takes {self.noise_channels} noise maps, given {given}")
        maps = 2 * image - 1
        if noise is not None:
            maps = torch.cat([maps, noise.to(maps.dtype)], dim=1)
        maps = self.blocks(torch.relu_(self.stem(maps)))
        maps = self.head(maps)
        if maps.dtype != image.dtype:  # autocast; a strict torch.export of to() checks for the dtype without autocast
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
    """R(x) with fresh noise maps where the refiner asks for them and none are given: ``(B, C, H, W) -> same``.

    Noise is drawn on the generator's device (the image's when None), so the same generator state gives the same
    result. At most ``micro_batch`` images pass through R at once; None for all.
    """
    noise = noise_for(refiner, image, generator) if noise is None else noise
    if micro_batch is None:
        return refine_with(refiner, image, noise)  # no count of images is taken, so that torch.export keeps it open
    parts = [
        refine_with(refiner, image[rows], None if noise is None else noise[rows])
        for rows in micro_batches(len(image), micro_batch)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def noise_for(
    refiner: nn.Module, image: Tensor, generator: torch.Generator | None, processes: Processes = SINGLE_PROCESS
) -> Tensor | None:
    """The noise maps ``(B, K, H, W)`` a refiner asks for, on the images' device; None when it asks for none.

    Of several processes each draws those of the whole mini-batch, from generators in the same state, and keeps its own.
    """
    noise_channels = getattr(refiner, "noise_channels", 0)
    if not noise_channels:
        return None
    shape = (image.shape[0] * processes.size, noise_channels, *image.shape[-2:])
    if generator is None:  # and not named: with open sizes, torch.compile and torch.export take no generator at all
        noise = torch.randn(shape, device=image.device)
    else:
        noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise[processes.rows(image.shape[0])].to(image.device)


def refine_with(refiner: nn.Module, image: Tensor, noise: Tensor | None) -> Tensor:
    """R(x) with given noise maps, or without any."""
    out: Tensor = refiner(image) if noise is None else refiner(image, noise)
    return out


def micro_batches(count: int, size: int | None) -> Iterator[slice]:
    """The rows of a mini-batch of ``count`` images in nearly equal parts of at most ``size``; None is one part."""
    parts = 1 if size is None else max(1, -(-count // size))
    each = -(-count // parts)
    for part in range(parts):
        yield slice(part * each, min((part + 1) * each, count))
