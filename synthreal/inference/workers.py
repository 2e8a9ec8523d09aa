"""Worker processes: detection of forks and DataLoader workers, and generators that survive pickling."""

from __future__ import annotations

import os

import torch
from torch.utils.data import get_worker_info

from synthreal.errors import UserError

_IMPORTED_IN = os.getpid()  # inherited by a forked process; a spawned one imports this module again


def forked() -> bool:
    """Whether this process was forked after this module was imported."""
    return os.getpid() != _IMPORTED_IN


def in_worker() -> bool:
    """Whether this process is a DataLoader worker, or forked."""
    return get_worker_info() is not None or forked()


def refuse_forked_cuda(device: torch.device | str) -> None:
    """Raise ``UserError`` for CUDA in a forked DataLoader worker, or where torch would refuse it after a fork."""
    bad = torch.cuda._is_in_bad_fork() or (get_worker_info() is not None and forked())
    if bad and torch.device(device).type == "cuda":
        raise UserError(
            f"a refiner on {device} cannot work in a forked process (a DataLoader worker, map(num_proc=...)): refine "
            "whole batches in the main process with synthreal.Refine, or give device='cpu', or start workers with "
            "multiprocessing_context='spawn'"
        )


GeneratorState = tuple[str, int, bytes]


def pack_generator(generator: torch.Generator | None) -> GeneratorState | None:
    """A generator as device, seed and state; torch's own pickling loses the state in a spawned worker."""
    if generator is None:
        return None
    return str(generator.device), generator.initial_seed(), generator.get_state().cpu().numpy().tobytes()


def unpack_generator(packed: GeneratorState | None) -> torch.Generator | None:
    """Restore the generator of :func:`pack_generator`."""
    if packed is None:
        return None
    device, seed, state = packed
    generator = torch.Generator(device).manual_seed(seed)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
