"""Discriminators: the local one of the paper, built from a list of layers, and the global one of its ablation.

Convention: a logit > 0 means "refined". The paper's head has two maps and a softmax; the logit is their difference
z_refined - z_real, so D(x) = sigmoid(logit) and the parameter counts are the paper's (gaze 75,906, hands 178,050).
There are no normalisation layers, because batch statistics would mix real and refined images.
Source: SimGAN 2.2, 3.1, 3.2; ``same`` padding makes the gaze map 9x14 for 35x55 and the hand map 7x7 for 224x224.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from synthreal.core.convolution import receptive_field
from synthreal.spec import OddSide, Options


class Layer(Options):
    """One layer of a discriminator."""

    kind: Literal["conv", "pool"] = Field(default="conv", description="conv (with ReLU) or pool (max-pooling).")
    maps: int = Field(default=0, ge=0, le=4096, description="Feature maps of a convolution; 0 for a pool.")
    kernel: OddSide = Field(default=3, ge=1, le=255, description="Kernel side in pixels.")
    stride: int = Field(default=1, ge=1, le=255, description="Stride in pixels.")


def conv(maps: int, kernel: int, stride: int = 1) -> Layer:
    """A convolution layer with ReLU."""
    return Layer(kind="conv", maps=maps, kernel=kernel, stride=stride)


def pool(kernel: int, stride: int) -> Layer:
    """A max-pooling layer."""
    return Layer(kind="pool", kernel=kernel, stride=stride)


def _trunk(channels: int, layers: Sequence[Layer]) -> tuple[nn.Sequential, int]:
    modules: list[nn.Module] = []
    for layer in layers:
        if layer.kind == "pool":
            modules.append(nn.MaxPool2d(layer.kernel, layer.stride, padding=layer.kernel // 2))
        else:
            modules += [
                nn.Conv2d(channels, layer.maps, layer.kernel, layer.stride, padding=layer.kernel // 2),
                nn.ReLU(inplace=True),
            ]
            channels = layer.maps
    return nn.Sequential(*modules), channels


class LocalDiscriminator(nn.Module):
    """D: ``(B, C, H, W)`` in [0, 1] to logits ``(B, 1, h, w)``, one for each local patch."""

    def __init__(self, channels: int, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.trunk, maps = _trunk(channels, layers)
        self.head = nn.Conv2d(maps, 2, 1)
        self.receptive_field = receptive_field([(layer.kernel, layer.stride) for layer in layers])

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] to logits ``(B, 1, h, w)``, > 0 means refined."""
        real, refined = self.head(self.trunk(2 * image - 1)).to(image.dtype).chunk(2, dim=1)
        return torch.sub(refined, real)


class GlobalDiscriminator(nn.Module):
    """D of the ablation (paper 3.3): one logit for the whole image, ``(B, C, H, W) -> (B, 1, 1, 1)``.

    A fully connected layer follows the trunk, so the image size is fixed.
    """

    def __init__(self, channels: int, height: int, width: int, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.trunk, _ = _trunk(channels, layers)
        with torch.no_grad():
            features = self.trunk(torch.zeros(1, channels, height, width)).numel()
        self.head = nn.Linear(features, 2)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] to logits ``(B, 1, 1, 1)``, > 0 means refined."""
        real, refined = self.head(self.trunk(2 * image - 1).flatten(1)).to(image.dtype).chunk(2, dim=1)
        return torch.sub(refined, real)[:, :, None, None]
