"""Gaussian noise as a function of seed, image index and pixel, without a generator.

Numbers from a generator depend on how many were drawn before, and so on batch sizes and on the split between processes.
Here every number is a hash of its position, so an image gets the same noise in any batch, block, process or restart.
The hash is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): an image's stream
starts at a hash of (seed, index), and the two halves of each word become one normal number (Box and Muller, 1958).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # as int64; products wrap around
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_STEPS = 1 << 24  # integers up to here are exact in float32


def indexed_noise(
    index: Tensor, shape: tuple[int, int, int], seed: int, *, window: tuple[slice, slice] | None = None
) -> Tensor:
    """Standard normal ``(B, *shape)`` float32, shape (K, H, W), for images with indices ``(B,)`` int64.

    ``seed`` is in [0, 2**63); ``window`` selects rows and columns, as slices with start and stop.
    """
    start = _start(index, seed)
    if window is None:
        place = torch.arange(1, math.prod(shape) + 1, device=index.device)
    else:
        rows, columns = (torch.arange(part.start, part.stop, device=index.device) for part in window)
        maps = torch.arange(shape[0], device=index.device)
        place = ((maps[:, None, None] * shape[1] + rows[:, None]) * shape[2] + columns + 1).flatten()
        shape = (shape[0], len(rows), len(columns))
    word = _mix(start[:, None] + place * _GAMMA)
    # in (0, 1], so that the logarithm is finite
    radius = ((_shifted(word, 40) + 1).to(torch.float32) / _STEPS).log_().mul_(-2).sqrt_()
    angle = (word & (_STEPS - 1)).to(torch.float32).mul_(2 * math.pi / _STEPS)
    return radius.mul_(angle.cos_()).view(len(index), *shape)


def indexed_choice(index: Tensor, count: int, seed: int) -> Tensor:
    """A number ``(B,)`` int64 in [0, count) for each of the images with indices ``(B,)`` int64, equally likely."""
    return _shifted(_start(index, seed), 1) % count


def _start(index: Tensor, seed: int) -> Tensor:
    """The first word of each image's stream."""
    return _mix(_mix(torch.full_like(index, seed)) + index * _GAMMA)


def _mix(word: Tensor) -> Tensor:
    word = (word ^ _shifted(word, 30)) * _FIRST
    word = (word ^ _shifted(word, 27)) * _SECOND
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical right shift; the shift of int64 is arithmetic."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)
