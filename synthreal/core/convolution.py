"""Convolutions: replication padding that can be compiled for training, and receptive fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["zeros", "replicate", "reflect"]


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` with an odd square kernel and same padding: ``(B, channels, H, W) -> (B, width, H, W)``."""

    def __init__(self, channels: int, width: int, kernel: int, padding: Padding) -> None:
        super().__init__(channels, width, kernel, padding=kernel // 2, padding_mode=padding)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # torch 2.13's compiler assumes a contiguous gradient of replication padding, which is wrong in channels_last
        if self.padding_mode == "replicate" and torch.compiler.is_dynamo_compiling():
            return F.conv2d(pad_replicate(input, self.kernel_size[0] // 2), weight, bias)
        maps: Tensor = super()._conv_forward(input, weight, bias)
        return maps


def pad_replicate(maps: Tensor, border: int) -> Tensor:
    """Replication padding of ``(B, C, H, W)`` by ``border`` px on every side, as concatenations."""
    for axis in (-2, -1):
        first, last = maps.narrow(axis, 0, 1), maps.narrow(axis, maps.shape[axis] - 1, 1)
        maps = torch.cat([first] * border + [maps] + [last] * border, axis)
    return maps


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """Side in pixels of the input area of one output position, for layers ``(kernel, stride)`` from input to output.

    A layer widens the area by (kernel - 1) times the product of the strides before it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
