"""What a refiner must know of the process it is in: a DataLoader worker, a forked one; and how chance gets there."""

from __future__ import annotations

import os

import torch
from torch.utils.data import get_worker_info

from synthreal.errors import UserError

_IMPORTED_IN = os.getpid()  # a forked process still reads its parent's here; a spawned one imports anew


def forked() -> bool:
    """Whether this process was forked from one that had imported this module."""
    return os.getpid() != _IMPORTED_IN


def in_worker() -> bool:
    """Whether this process works for another: forked, or of a DataLoader."""
    return get_worker_info() is not None or forked()


def refuse_forked_cuda(device: torch.device | str) -> None:
    """Raise ``UserError`` for CUDA in a forked DataLoader worker, or wherever torch would refuse it after a fork."""
    bad = torch.cuda._is_in_bad_fork() or (get_worker_info() is not None and forked())
    if bad and torch.device(device).type == "cuda":
        raise UserError(
            f"a refiner on {device} cannot work in a forked process (a DataLoader worker, map(num_proc=...)): refine "
            "whole batches in the main process with synthreal.Refine, or give device='cpu', or start workers with "
            "multiprocessing_context='spawn'"
        )


Packed = tuple[str, int, bytes]


def pack_generator(generator: torch.Generator | None) -> Packed | None:
    """A generator in plain words, for pickling: torch's own way loses the state on its way to a spawned worker."""
    if generator is None:
        return None
    return str(generator.device), generator.initial_seed(), generator.get_state().cpu().numpy().tobytes()


def unpack_generator(words: Packed | None) -> torch.Generator | None:
    """The generator of :func:`pack_generator`, where it was and as far as it was."""
    if words is None:
        return None
    device, seed, state = words
    generator = torch.Generator(device).manual_seed(seed)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
