"""The batch size: one that suits the device, or the fastest by measurement."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import torch

from synthreal.device import is_out_of_memory, resolve_micro_batch
from synthreal.errors import UserError
from synthreal.inference.indexed import BLOCK
from synthreal.inference.transform import Refine

CUDA_PX = 1 << 24  # px at once on a GPU
_MAX_BATCH = 4096
_SIZES = 4
_ENOUGH = 0.97  # a larger batch costs memory, and must take less than this share of the time
_SLOW = 4.0  # seconds per batch


def usual_batch(setting: int | str | None, device: torch.device, sizes: Sequence[tuple[int, int]]) -> int:
    """The default batch size for first images of ``(H, W)``; 1 if their sizes differ.

    A batch holds images of one size and is filled up with copies; with mixed sizes most of a batch would be copies.
    ``setting`` is ``runtime.micro_batch``; images that are refined in tiles do not count.
    """
    if len(set(sizes)) != 1:
        return 1
    height, width = sizes[0]
    micro = resolve_micro_batch(setting, device, height, width)
    if micro is None and device.type == "cuda":
        micro = max(1, CUDA_PX // (height * width))
    limit = BLOCK if micro is None else min(BLOCK, micro)
    return -(-BLOCK // -(-BLOCK // limit))  # 256 images in equal batches


def fastest_batch(transform: Refine, sizes: Sequence[tuple[int, int]]) -> int:
    """The batch size among 1, 2, 4 ... that refines the first images fastest.

    Only the four most frequent sizes are measured. The copies that fill up a batch cost time, too.

    Raises:
        UserError: there is not enough memory for one image.
    """
    frequent = Counter(sizes).most_common(_SIZES)
    if not frequent:
        return 1
    best, least, worse, batch = 1, float("inf"), 0, 1
    while batch <= _MAX_BATCH:
        try:
            each = [_seconds(transform, batch, size) for size, _ in frequent]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if batch == 1:
                (height, width), _ = frequent[0]
                raise UserError(f"images of {height}x{width} px do not fit; give a smaller --tile") from error
            break
        largest = max(_SIZES * BLOCK, batch) if len(frequent) == 1 else 0
        seconds = sum(-(-max(count, largest) // batch) * one for (_, count), one in zip(frequent, each, strict=True))
        if seconds < _ENOUGH * least:
            best, least, worse = batch, seconds, 0
        else:
            worse += 1
        if worse == 2 or max(each) > _SLOW:
            break
        batch *= 2
    return best


def _seconds(transform: Refine, batch: int, size: tuple[int, int]) -> float:
    """The time of the faster of two calls, after a first call for warming up."""
    device = next(transform.parameters()).device
    image = torch.full((batch, transform.channels, *size), 0.5, device=device)
    maps = transform.noise_channels
    noise = torch.zeros((batch, maps, *size), device=device) if maps else None
    times = []
    transform.micro_batch = batch
    for _ in range(3):
        start = time.perf_counter()
        transform(image, noise)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
        if times[0] > _SLOW:
            break
    return min(times[1:] or times)
