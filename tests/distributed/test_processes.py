"""A single process, and random draws shared by several; communicating processes are in ``tests/ranks.py``."""

from __future__ import annotations

import pytest
import torch

from synthreal.core.patch import random_patches
from synthreal.core.refiner import Refiner, noise_for
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.errors import PeerError


def test_collectives_of_a_single_process_return_their_arguments():
    value = {"a": torch.arange(3.0)}
    tensor = torch.arange(3.0)
    SINGLE_PROCESS.all_reduce_mean([tensor])
    SINGLE_PROCESS.broadcast_parameters([torch.nn.Linear(1, 1)])
    SINGLE_PROCESS.wait()
    with SINGLE_PROCESS.main_first():
        pass
    assert SINGLE_PROCESS.is_main and torch.equal(tensor, torch.arange(3.0))
    assert (
        SINGLE_PROCESS.broadcast(value) is value
        and SINGLE_PROCESS.gather(value) == [value]
        and SINGLE_PROCESS.scatter([value]) is value
    )
    assert SINGLE_PROCESS.any(True) and not SINGLE_PROCESS.any(False)


def test_the_draws_of_all_processes_together_are_those_of_one_process():
    size = 3
    images = torch.rand(6, 1, 9, 11, generator=torch.Generator().manual_seed(1))
    refiner = Refiner(blocks=1, width=2, noise_channels=2)

    def drawn(processes, mine):
        generator = torch.Generator().manual_seed(0)
        noise = noise_for(refiner, mine, generator, rank=processes.rank, size=processes.size)
        return (
            noise,
            random_patches(mine, 5, generator, rank=processes.rank, size=processes.size),
            generator.get_state(),
        )

    noise, patches, state = drawn(SINGLE_PROCESS, images)
    shares = [drawn(Processes(rank, size), share) for rank, share in enumerate(images.chunk(size))]
    assert torch.equal(torch.cat([share[0] for share in shares]), noise)
    assert torch.equal(torch.cat([share[1] for share in shares]), patches)
    assert all(torch.equal(share[2], state) for share in shares)


def test_a_lost_connection_is_a_peer_error(monkeypatch):
    gloo = RuntimeError("Connection closed\nby peer. It goes on with advice")
    errors = [gloo, torch.distributed.DistBackendError("Duplicate GPU")]

    def broken(*arguments, **more):
        raise errors.pop()

    monkeypatch.setattr("torch.distributed.all_reduce", broken)
    for reason in ("Duplicate GPU", "Connection closed by peer"):
        with pytest.raises(PeerError, match=reason):
            Processes(0, 2).all_reduce_mean([torch.zeros(1)])


def test_an_error_of_the_device_is_not_a_peer_error(monkeypatch):
    def full(*arguments, **more):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("torch.distributed.all_reduce", full)
    with pytest.raises(torch.OutOfMemoryError):
        Processes(0, 2).all_reduce_mean([torch.zeros(1)])
