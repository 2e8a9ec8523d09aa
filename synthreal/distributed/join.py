"""Joining the process group that ``torchrun`` (or whoever sets its variables) started for a run, and leaving it.

A process that fails exits with its own message. The others find their connection broken, raise ``PeerError`` and exit;
torchrun ends all processes when one fails, and names the first. Every wait is bounded.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.distributed.rank import Rank, local_rank
from synthreal.errors import UserError

# Time-outs of the rendezvous, of a training step, and of work that one process does while the others wait, such as
# reading data. A process that dies is noticed at once; these are for one that hangs or was never started.
RENDEZVOUS = timedelta(minutes=10)
STEP = timedelta(minutes=30)
LONG = timedelta(days=1)

_groups = itertools.count()


@contextmanager
def process_group() -> Iterator[Processes]:
    """The processes of this run, according to ``RANK`` and ``WORLD_SIZE``; without them this process alone.

    An existing process group is used and left as it is, so nested calls share one.
    """
    if dist.is_available() and dist.is_initialized():
        yield _processes(None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo"))
        return
    if Rank.here().world == 1:
        yield SINGLE_PROCESS
        return
    shared, rank, size = _rendezvous()
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # a restart of torchrun may find the same store
    store = dist.PrefixStore(f"synthreal/{attempt}/{next(_groups)}", shared)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=LONG)
    failed = False
    try:
        processes = _processes(None)
        yield processes
        processes.wait()  # without it processes sometimes abort at exit, while a slower one still uses their threads
    except Exception:
        failed = True
        raise
    finally:
        if not (failed and torch.cuda.is_initialized()):  # NCCL would wait for the other processes
            dist.destroy_process_group()


def device_group(device: torch.device) -> dist.ProcessGroup:
    """A new group of all processes for tensors on the device. A collective operation."""
    group: dist.ProcessGroup = dist.new_group(backend="nccl" if device.type == "cuda" else "gloo", timeout=STEP)
    return group


@cache
def _rendezvous() -> tuple[Any, int, int]:
    """The store, rank and size; cached, because a second rendezvous would close the store of the other processes."""
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=RENDEZVOUS)))
    except (ValueError, RuntimeError) as error:  # a missing variable, an occupied port, no answer
        reason = str(error).splitlines()[0]
        raise UserError(
            f"RANK and WORLD_SIZE announce other processes, but {reason}; start them with torchrun, or unset RANK and "
            "WORLD_SIZE to run a single process"
        ) from None
    store.set_timeout(STEP)
    return store, rank, size


def _processes(hosts: dist.ProcessGroup | None) -> Processes:
    rank, size = dist.get_rank(), dist.get_world_size()
    local = int(local_rank(str(rank))), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return Processes(rank, size, *local, hosts=hosts)
