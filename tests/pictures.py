"""Image sets with known differences: smooth noise, and changes of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pictures(n: int, seed: int, size: tuple[int, int] = (20, 24), channels: int = 1) -> Tensor:
    """Smooth noise around 0.5, ``(n, channels, *size)``; every seed is another sample of one distribution."""
    noise = torch.randn(n, channels, *(side + 2 for side in size), generator=torch.Generator().manual_seed(seed))
    return (0.5 + 0.3 * F.avg_pool2d(noise, 3, 1)).clamp(0, 1)


def noisy(images: Tensor, strength: float = 0.08) -> Tensor:
    return images + strength * torch.randn(images.shape, generator=torch.Generator().manual_seed(99))


def blurred(images: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, 1)


def brighter(images: Tensor) -> Tensor:
    return images + 0.15


def collapsed(images: Tensor) -> Tensor:
    """The same number of images, but only 8 different ones."""
    return images[torch.arange(len(images)) % 8]


CHANGES = {"noise": noisy, "blur": blurred, "brightness": brighter}
