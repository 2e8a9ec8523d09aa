"""A convolution whose padding by replication can be compiled for training."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["zeros", "replicate", "reflect"]


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` with an odd square kernel that keeps the size of maps: ``(B, C, H, W) -> (B, width, H, W)``.

    Args:
        channels: C.
        width: feature maps.
        kernel: odd side in pixels.
        padding: how it sees beyond the border.
    """

    def __init__(self, channels: int, width: int, kernel: int, padding: Padding) -> None:
        super().__init__(channels, width, kernel, padding=kernel // 2, padding_mode=padding)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # torch 2.13's compiler takes the gradient of a replicating pad for contiguous; in channels_last it is not
        if self.padding_mode == "replicate" and torch.compiler.is_dynamo_compiling():
            return F.conv2d(replicated(input, self.kernel_size[0] // 2), weight, bias)
        maps: Tensor = super()._conv_forward(input, weight, bias)
        return maps


def replicated(maps: Tensor, border: int) -> Tensor:
    """``(B, C, H, W)`` with ``border`` px more on every side that repeat the outermost: ``F.pad`` taken apart."""
    for axis in (-2, -1):
        first, last = maps.narrow(axis, 0, 1), maps.narrow(axis, maps.shape[axis] - 1, 1)
        maps = torch.cat([first] * border + [maps] + [last] * border, axis)
    return maps
