"""A small configurable game, random images, and slow convolutions and pooling as oracles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthreal.config import LossConfig
from synthreal.core.discriminator import LocalDiscriminator, conv
from synthreal.core.game import Game
from synthreal.core.history import History
from synthreal.core.refiner import Refiner

Make = Callable[..., Game]
SHAPE = (1, 8, 11)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed the weights of the networks of every test."""
    torch.manual_seed(0)


@pytest.fixture
def images(generator: torch.Generator) -> Callable[..., Tensor]:
    """``images(n, *shape)``: uniform noise in [0, 1], different at every call."""

    def draw(n: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        size = (n, *(shape or SHAPE))
        return torch.rand(size, generator=generator, device=generator.device, dtype=dtype)

    return draw


@pytest.fixture
def make_game(device: torch.device) -> Make:
    """``make_game(...)``: small networks trained by plain SGD; the seed determines their weights."""

    def make(
        *,
        refiner: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        features: Sequence[tuple[nn.Module, float]] | None = None,
        weight: float = 0.7,
        history: int | None = None,
        ema: float | None = None,
        rate: float = 0.1,
        seed: int = 0,
        noise: int = 0,
        dtype: torch.dtype = torch.float32,
        optimizer: Any = torch.optim.SGD,
        autocast: torch.dtype | None = None,
    ) -> Game:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if refiner is None:
                refiner = Refiner(SHAPE[0], blocks=1, width=6, noise_channels=noise)
            if discriminator is None:
                discriminator = LocalDiscriminator(SHAPE[0], [conv(6, 3, 2), conv(5, 3)])
        refiner, discriminator = refiner.to(device, dtype), discriminator.to(device, dtype)
        return Game(
            refiner=refiner,
            discriminator=discriminator,
            features=[(nn.Identity(), 1.0)] if features is None else features,
            loss=LossConfig(weight=weight),
            optimizer_refiner=optimizer(refiner.parameters(), lr=rate),
            optimizer_discriminator=optimizer(discriminator.parameters(), lr=rate),
            generator=torch.Generator(device).manual_seed(seed),
            history=None if history is None else History(history, SHAPE, dtype="float32", device=device),
            average=None if ema is None else AveragedModel(refiner, multi_avg_fn=get_ema_multi_avg_fn(ema)),
            autocast=autocast,
        )

    return make


def _beyond(i: int, size: int, padding: str) -> int | None:
    """The index that replaces ``i`` outside of 0..size-1; None means zero."""
    if 0 <= i < size:
        return i
    if padding == "zeros":
        return None
    if padding == "replicate":
        return min(max(i, 0), size - 1)
    return -i if i < 0 else 2 * (size - 1) - i


def slow_conv(maps: np.ndarray, layer: nn.Conv2d, padding: str = "zeros", stride: int = 1) -> np.ndarray:
    """Correlate ``(C, H, W)`` with a layer's weights, one product at a time."""
    weight, bias = (value.detach().double().cpu().numpy() for value in (layer.weight, layer.bias))
    side = weight.shape[-1]
    _, height, width = maps.shape
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = np.zeros((weight.shape[0], rows, columns))
    for o in range(weight.shape[0]):
        for y in range(rows):
            for x in range(columns):
                total = bias[o]
                for u in range(side):
                    for v in range(side):
                        row = _beyond(stride * y + u - side // 2, height, padding)
                        column = _beyond(stride * x + v - side // 2, width, padding)
                        if row is not None and column is not None:
                            total += float(weight[o, :, u, v] @ maps[:, row, column])
                out[o, y, x] = total
    return out


def slow_pool(maps: np.ndarray, side: int, stride: int) -> np.ndarray:
    """Max-pool ``(C, H, W)``; positions outside are ignored."""
    channels, height, width = maps.shape
    out = np.full((channels, (height - 1) // stride + 1, (width - 1) // stride + 1), -np.inf)
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            for row in range(stride * y - side // 2, stride * y + side // 2 + 1):
                for column in range(stride * x - side // 2, stride * x + side // 2 + 1):
                    if 0 <= row < height and 0 <= column < width:
                        out[:, y, x] = np.maximum(out[:, y, x], maps[:, row, column])
    return out


@pytest.fixture
def slow() -> type:
    """The slow operators: ``slow.conv`` and ``slow.pool``."""

    class Slow:
        conv = staticmethod(slow_conv)
        pool = staticmethod(slow_pool)

    return Slow
