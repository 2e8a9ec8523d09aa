"""What a refiner must know of the process it is in: DataLoader workers, and processes that were forked."""

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
