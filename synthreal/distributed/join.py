"""Joining the processes that ``torchrun`` (or whoever sets its variables) started for one run, and leaving them.

What one process fails with is told once: the first to fail notes so in the store all share, and goes its way with its
error; the others find their connection cut, see the note and end with ``PeerError``, of which nothing is printed, and
a little later: torchrun ends all when it sees one fail, and takes that one for the cause. A process that was killed
leaves no note: then the first that misses it says so, and when it took the store with it (which without torchrun is
process 0's) all that miss it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.distributed.rank import REPORT_DELAY, Rank
from synthreal.errors import PeerError, UserError

# How long one process waits for the others: to begin with, in a step, and where one reads a data set or looks at
# quality. A process that dies is noticed at once; these are for one that hangs, or was never started.
MEETING = timedelta(minutes=10)
STEP = timedelta(minutes=30)
ERRAND = timedelta(days=1)
FAILED = "failed"

_meetings = itertools.count()


@contextmanager
def process_group() -> Iterator[Processes]:
    """The processes of this run: those ``RANK`` and ``WORLD_SIZE`` speak of, or this one alone.

    A process group that exists is used and left as it is. Inside another ``joined`` it is the same processes.
    """
    if dist.is_available() and dist.is_initialized():
        yield _processes(None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo"))
        return
    if Rank.here().world == 1:
        yield SINGLE_PROCESS
        return
    shared, rank, size = _meeting_place()
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun of one machine starts anew with what it had
    store = dist.PrefixStore(f"synthreal/{attempt}/{next(_meetings)}", shared)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=ERRAND)
    failed = False
    try:
        processes = _processes(None)
        yield processes
        processes.wait()  # without it processes abort at exit now and then: their threads still serve a slower one
    except Exception as error:
        failed = True
        if (shown := _first_to_fail(store, error)) is not error:
            raise shown from error
        raise
    finally:
        if not (failed and torch.cuda.is_initialized()):  # NCCL would wait for the others; exiting does not
            dist.destroy_process_group()


def device_group(device: torch.device) -> dist.ProcessGroup:
    """A new group of all processes for tensors on the device. All must call it together."""
    group: dist.ProcessGroup = dist.new_group(backend="nccl" if device.type == "cuda" else "gloo", timeout=STEP)
    return group


@cache
def _meeting_place() -> tuple[Any, int, int]:
    """The store all share, rank and size; kept, for a process that joined again would close it to those who have."""
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=MEETING)))
    except (ValueError, RuntimeError) as error:  # a variable that is missing, a port that is taken, nobody who answers
        reason = str(error).splitlines()[0]
        raise UserError(
            f"RANK and WORLD_SIZE speak of other processes, but {reason}; start them with torchrun, or unset RANK and "
            "WORLD_SIZE to fit alone"
        ) from None
    store.set_timeout(STEP)  # from now on they know each other
    return store, rank, size


def _processes(hosts: dist.ProcessGroup | None) -> Processes:
    rank, size = dist.get_rank(), dist.get_world_size()
    local = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return Processes(rank, size, *local, hosts=hosts)


def _first_to_fail(store: Any, error: Exception) -> Exception:
    """The error itself when this process is the first that fails, else ``PeerError``."""
    try:
        first = store.add(FAILED, 1) == 1
    except RuntimeError:  # the process that held the store is gone, and may have been killed
        first = True
    if not first:
        time.sleep(REPORT_DELAY)
        return error if isinstance(error, PeerError) else PeerError("another process of this run failed first")
    if isinstance(error, PeerError):
        return UserError(
            f"{error}: it was killed, left its loop before the others, or its machine failed; fit with --resume goes "
            "on from the last checkpoint"
        )
    return error
