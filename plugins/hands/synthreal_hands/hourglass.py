"""The paper's hand-pose estimator, a stacked hourglass, extended by the depth of every joint.

Source: Newell et al. 2016 (stacked hourglass), SimGAN 3.2: two stacks, 64x64 heat maps, 14 joints. The paper predicts
positions in the image. Back-projection needs depth, so each stack also predicts a depth map per joint, which is
averaged where the heat map is high.

**224 px images and 64x64 heat maps.** A stem with total stride 4 turns 224 px into 56x56 maps, so the two numbers of
the paper do not fit together. Here the image is padded with background to ``stride x maps`` px (224 -> 256, 16 px on
each side) instead of being resized: depth is not blended, one cell of a 64x64 map is exactly 4 px of the crop, and
joints slightly outside the crop are on the map. The stride is the smallest power of two for which ``stride x maps`` is
at least the side of the image: 4 for 224 px and 64 maps, 2 for 64 px and 32 maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from synthreal import ImageSpec, Options, UserError
from synthreal_hands.cube import JOINT_COUNT

SMALLEST = 4
WINDOW = 2


class HourglassOptions(Options):
    """Size of the estimator; the defaults are the paper's where it states them."""

    features: int = Field(256, ge=4, le=1024, multiple_of=2, description="Channels of every residual block.")
    stacks: int = Field(2, ge=1, le=8, description="Number of successive hourglasses, each with its own loss.")
    maps: int = Field(64, ge=8, le=512, description="Side of the heat maps; a power of two.")

    @field_validator("maps")
    @classmethod
    def _power(cls, maps: int) -> int:
        if maps & (maps - 1):
            raise ValueError("must be a power of two")
        return maps


@dataclass(frozen=True)
class Grid:
    """The position of heat-map cells in an image: cell ``i`` is centred at ``(i + 0.5) * stride - 0.5 - margin`` px.

    Both fields are numbers, or tensors ``(B, 1, 1)`` that broadcast over the joints of images.
    """

    stride: int | Tensor
    margin: int | Tensor

    @classmethod
    def of(cls, side: int, maps: int) -> Grid:
        """The grid for images of ``side`` px and maps of ``maps`` cells. Raises ``UserError`` if they do not fit."""
        stride = 1 << max(0, math.ceil(math.log2(side / maps)))
        if stride > 8 or (stride * maps - side) % 2:
            raise UserError(
                f"evaluation.evaluator.options.maps: {maps} for images of {side} px; it must be at least an eighth of "
                "the side, which must be even"
            )
        return cls(stride, (stride * maps - side) // 2)

    @classmethod
    def over(cls, side: Tensor, maps: int) -> Grid:
        """The same for a tensor of sides, without checks and host synchronisation."""
        stride = torch.exp2(torch.log2(side / maps).ceil().clamp_min(0))
        return cls(stride, (stride * maps - side) / 2)

    def to_px(self, cells: Tensor) -> Tensor:
        """Convert cells to px of the image."""
        return (cells + 0.5) * self.stride - 0.5 - self.margin

    def to_cells(self, px: Tensor) -> Tensor:
        """The inverse of :meth:`to_px`."""
        return (px + 0.5 + self.margin) / self.stride - 0.5


class Residual(nn.Module):
    """Pre-activation bottleneck: ``(B, a, h, w) -> (B, b, h, w)``."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        half = features // 2
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, half, 1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, features, 1),
        )
        self.skip = nn.Identity() if channels == features else nn.Conv2d(channels, features, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """The sum of the block and its shortcut."""
        out: Tensor = self.skip(maps) + self.body(maps)
        return out


class Hourglass(nn.Module):
    """Down to 4x4 and up again, with a skip connection at every size: ``(B, f, h, h) -> same``."""

    def __init__(self, features: int, side: int) -> None:
        super().__init__()
        self.skip, self.down, self.up = (Residual(features, features) for _ in range(3))
        self.inner = Hourglass(features, side // 2) if side // 2 > SMALLEST else Residual(features, features)

    def forward(self, maps: Tensor) -> Tensor:
        """The sum of the skip connection and the path through lower resolutions."""
        low = self.up(self.inner(self.down(nn.functional.max_pool2d(maps, 2))))
        out: Tensor = self.skip(maps) + interpolate(low, scale_factor=2, mode="nearest")
        return out


class HandNet(nn.Module):
    """Crops ``(B, 1, S, S)`` in [0, 1] to maps ``(B, stacks, 28, h, h)``: 14 heat maps (logits), 14 depth maps.

    Depth is relative to the centre of the cube, in units of half the cube.
    """

    def __init__(self, options: HourglassOptions, image: ImageSpec) -> None:
        super().__init__()
        if image.height != image.width:
            raise UserError(f"evaluator hands: images are {image.height}x{image.width} px; it needs square crops")
        features, outputs = options.features, 2 * JOINT_COUNT
        self.grid = Grid.of(image.height, options.maps)
        stride = int(self.grid.stride)
        self.background = 1.0 if image.background is None else image.background
        layers: list[nn.Module] = [nn.Conv2d(image.channels, features // 2, 7, padding=3, stride=min(2, stride))]
        layers += [nn.BatchNorm2d(features // 2), nn.ReLU(), Residual(features // 2, features)]
        for _ in range(int(math.log2(stride)) - 1):
            layers += [nn.MaxPool2d(2), Residual(features, features)]
        self.stem = nn.Sequential(*layers)
        self.hourglasses = nn.ModuleList(Hourglass(features, options.maps) for _ in range(options.stacks))
        self.tails = nn.ModuleList(
            nn.Sequential(
                Residual(features, features),
                nn.Conv2d(features, features, 1),
                nn.BatchNorm2d(features),
                nn.ReLU(),
            )
            for _ in range(options.stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(features, outputs, 1) for _ in range(options.stacks))
        self.merges = nn.ModuleList(nn.Conv2d(features + outputs, features, 1) for _ in range(options.stacks - 1))

    def forward(self, image: Tensor) -> Tensor:
        """The maps of every stack; the last stack is the prediction."""
        padded = pad(image, (int(self.grid.margin),) * 4, value=self.background)
        maps = self.stem(1 - padded)
        outputs_by_stack = []
        for i, (hourglass, tail, head) in enumerate(zip(self.hourglasses, self.tails, self.heads, strict=True)):
            features = tail(hourglass(maps))
            outputs_by_stack.append(head(features))
            if i < len(self.merges):
                maps = maps + self.merges[i](torch.cat([features, outputs_by_stack[-1]], dim=1))
        return torch.stack(outputs_by_stack, dim=1)


def peak(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The sub-pixel arg-max of heat maps, and its weights.

    This is the centre of gravity of exp(logit) over the 5x5 cells around the highest cell.

    Args:
        logits: ``(B, J, h, w)``.

    Returns:
        ``(B, J, 2)`` cells (x, y) and weights ``(B, J, h, w)`` that sum to 1.
    """
    height, width = logits.shape[-2:]
    flat = logits.float().flatten(2)
    top = flat.argmax(-1)
    row, column = torch.arange(height, device=logits.device), torch.arange(width, device=logits.device)
    near_row = (row - (top // width)[..., None]).abs() <= WINDOW
    near_column = (column - (top % width)[..., None]).abs() <= WINDOW
    window = (near_row[..., :, None] & near_column[..., None, :]).flatten(2)
    weights = torch.where(window, flat, -torch.inf).softmax(-1).unflatten(2, (height, width))
    x, y = (weights.sum(2) * column).sum(-1), (weights.sum(3) * row).sum(-1)
    return torch.stack([x, y], dim=-1), weights
