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
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from synthreal.bulk.ranks import LATER, Rank
from synthreal.config import RunConfig
from synthreal.core.machine import device_of
from synthreal.core.world import ALONE, World
from synthreal.errors import PeerError, UserError

# How long one process waits for the others: to begin with, in a step, and where one reads a data set or looks at
# quality. A process that dies is noticed at once; these are for one that hangs, or was never started.
MEETING = timedelta(minutes=10)
STEP = timedelta(minutes=30)
ERRAND = timedelta(days=1)
FAILED = "failed"

_meetings = itertools.count()


@contextmanager
def joined() -> Iterator[World]:
    """The processes of this run: those ``RANK`` and ``WORLD_SIZE`` speak of, or this one alone.

    A process group that exists is used and left as it is. Inside another ``joined`` it is the same processes.
    """
    if dist.is_available() and dist.is_initialized():
        yield _world(None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo"))
        return
    if Rank.here().world == 1:
        yield ALONE
        return
    shared, rank, size = _meeting_place()
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun of one machine starts anew with what it had
    store = dist.PrefixStore(f"synthreal/{attempt}/{next(_meetings)}", shared)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=ERRAND)
    failed = False
    try:
        world = _world(None)
        yield world
        world.wait()  # without it processes abort at exit now and then: their threads still serve a slower one
    except Exception as error:
        failed = True
        if (shown := _first_to_fail(store, error)) is not error:
            raise shown from error
        raise
    finally:
        if not (failed and torch.cuda.is_initialized()):  # NCCL would wait for the others; exiting does not
            dist.destroy_process_group()


def placed(config: RunConfig, world: World) -> tuple[torch.device, World]:
    """The device this process computes on, and the world with a group for tensors there.

    ``runtime.device`` is for all processes: each of a machine takes the GPU of its number.

    Raises:
        UserError: fewer GPUs than processes, or a mini-batch that cannot be shared equally.
    """
    device = device_of(config.runtime.device)
    if world.size == 1:
        return device, world
    _check_shares(config, world.size)
    if device.type == "cuda":
        if device.index is not None:
            raise UserError(
                f"runtime.device={config.runtime.device} is one GPU for {world.size} processes; use auto, which gives "
                "each its own"
            )
        gpus = torch.cuda.device_count()
        if world.any(world.local_rank >= gpus):  # told to all, or who has one would wait for who has not
            raise UserError(
                f"there are more processes than GPUs ({gpus} on the machine of process {world.rank}); start as many "
                "processes as there are GPUs, or set runtime.device=cpu"
            )
        device = device_of(f"cuda:{world.local_rank}")
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    return device, replace(world, devices=dist.new_group(backend=backend, timeout=STEP))


def _check_shares(config: RunConfig, size: int) -> None:
    batch = config.schedule.batch
    if batch % size:
        raise UserError(f"schedule.batch={batch} cannot be shared by {size} processes; make it a multiple of {size}")
    if config.history is not None and batch % (2 * size):
        raise UserError(
            f"schedule.batch={batch} cannot be shared by {size} processes, each half fresh and half past; make it a "
            f"multiple of {2 * size}, or set history=none"
        )


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


def _world(hosts: dist.ProcessGroup | None) -> World:
    rank, size = dist.get_rank(), dist.get_world_size()
    local = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    return World(rank, size, *local, hosts=hosts)


def _first_to_fail(store: Any, error: Exception) -> Exception:
    """The error itself when this process is the first that fails, else ``PeerError``."""
    try:
        first = store.add(FAILED, 1) == 1
    except RuntimeError:  # the process that held the store is gone, and may have been killed
        first = True
    if not first:
        time.sleep(LATER)
        return error if isinstance(error, PeerError) else PeerError("another process of this run failed first")
    if isinstance(error, PeerError):
        return UserError(
            f"{error}: it was killed, left its loop before the others, or its machine failed; fit with --resume goes "
            "on from the last checkpoint"
        )
    return error
