"""How many images pass through the network at once: what suits the device, or what is found fastest by trying."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import torch

from synthreal.device import resolve_micro_batch
from synthreal.errors import UserError
from synthreal.inference.indexed import BLOCK
from synthreal.inference.transform import Refine

CUDA_PX = 1 << 24  # px at once on a GPU
_LARGEST = 4096
_SIZES = 4
_ENOUGH = 0.97  # a larger batch must take less than this share of the time, for what it costs in memory
_SLOW = 4.0  # seconds a batch


def usual_batch(setting: int | str | None, device: torch.device, sizes: Sequence[tuple[int, int]]) -> int:
    """The batch size nobody asked for, given the ``(H, W)`` of the first images; 1 where they differ.

    A batch holds images of one size and is filled up with copies, which of mixed sizes would be most of the work.

    Args:
        setting: ``runtime.micro_batch`` of the run.
        device: where.
        sizes: of the first images that are not refined in tiles.
    """
    if len(set(sizes)) != 1:
        return 1
    height, width = sizes[0]
    micro = resolve_micro_batch(setting, device, height, width)
    if micro is None and device.type == "cuda":
        micro = max(1, CUDA_PX // (height * width))
    most = BLOCK if micro is None else min(BLOCK, micro)
    return -(-BLOCK // -(-BLOCK // most))  # in as many nearly equal parts as 256 images take


def found_batch(transform: Refine, sizes: Sequence[tuple[int, int]]) -> int:
    """The batch size that refines the first images fastest, found by trying 1, 2, 4 ...

    Copies that fill up a batch count as time lost; so do sizes other than the four most frequent, which are not tried.

    Raises:
        UserError: there is not even memory for one image.
    """
    frequent = Counter(sizes).most_common(_SIZES)
    if not frequent:
        return 1
    best, least, worse, batch = 1, float("inf"), 0, 1
    while batch <= _LARGEST:
        try:
            each = [_seconds(transform, batch, size) for size, _ in frequent]
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if "memory" not in str(error):
                raise
            if batch == 1:
                raise UserError(f"images of {frequent[0][0]} px do not fit; give a smaller --tile") from error
            break
        largest = max(_SIZES * BLOCK, batch) if len(frequent) == 1 else 0
        seconds = sum(-(-max(count, largest) // batch) * took for (_, count), took in zip(frequent, each, strict=True))
        if seconds < _ENOUGH * least:
            best, least, worse = batch, seconds, 0
        else:
            worse += 1
        if worse == 2 or max(each) > _SLOW:
            break
        batch *= 2
    return best


def _seconds(transform: Refine, batch: int, size: tuple[int, int]) -> float:
    """The faster of two calls after a first one."""
    device = next(transform.parameters()).device
    image = torch.full((batch, transform.channels, *size), 0.5, device=device)
    maps = transform.noise_channels
    noise = torch.zeros((batch, maps, *size), device=device) if maps else None
    took = []
    transform.micro_batch = batch
    for _ in range(3):
        start = time.perf_counter()
        transform(image, noise)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
        if took[0] > _SLOW:
            break
    return min(took[1:] or took)
