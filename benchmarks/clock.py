"""Wall and CPU seconds of a call, including the work of the device, and the memory of this process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

Spent = dict[str, float]
UNTIMED, TIMED = 0.1, 0.4  # seconds


def spent(call: Callable[[], Any], device: torch.device, *, once: bool = False) -> Spent:
    """The seconds ``{"wall": s, "cpu": s}`` of a call; CPU seconds are those of all threads of this process.

    On a GPU, the call is repeated for half a second, the first fifth of it untimed, and the mean is returned, because a
    single call of a few milliseconds would measure an idle clock rate. ``once`` is for calls that cannot be repeated.
    """
    if device.type != "cuda" or once:
        with timed(device) as seconds:
            call()
        return seconds
    began, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - began < UNTIMED:
        call()
        _wait(device)
        calls += 1
    repeats = max(1, round(calls * TIMED / (time.perf_counter() - began)))
    with timed(device) as seconds:
        for _ in range(repeats):
            call()
    return {clock: total / repeats for clock, total in seconds.items()}


@contextmanager
def timed(device: torch.device) -> Iterator[Spent]:
    """Time a block; the dictionary is filled when the block ends."""
    seconds: Spent = {}
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield seconds
    _wait(device)
    seconds.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def peak_mb(device: torch.device) -> float:
    """Peak memory in MB, of the GPU if it is the device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would include the peak of a large parent
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
