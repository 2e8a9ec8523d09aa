"""The processes that play one game together, and the few things they do in common.

Each process has whole networks and takes its share of every mini-batch. Before an optimizer steps, gradients are
averaged over all processes, flattened into one tensor, so that every process takes the step one process would take
on the whole mini-batch. Why no DistributedDataParallel: its hooks fire in every backward pass, where micro-batches and
D inside R's update want none, and it renames what a checkpoint holds; networks of 0.1 to 5 million parameters gain
nothing from overlapping. Two groups carry this: one for tensors on the device (NCCL or gloo), one between hosts (gloo)
for decisions, which no device has to wait for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from synthreal.errors import PeerError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them. Alone, everything here returns at once what it was given.

    Whatever communicates must be called by all processes in the same order; where one of them is gone it raises
    ``PeerError``.

    Attributes:
        rank: this process, 0 to ``size`` - 1; rank 0 leads: it alone writes and prints.
        size: number of processes.
        local_rank: this process among those of its machine.
        local_size: processes of its machine.
        hosts: the group that decisions go through; None is torch's default group.
        devices: the group that gradients go through; None likewise.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    hosts: ProcessGroup | None = None
    devices: ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """The ``count`` rows of this process among the ``count * size`` of all."""
        return slice(self.rank * count, (self.rank + 1) * count)

    @torch.no_grad()
    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, bit for bit the same on each; one message for all."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _reaching():
            dist.all_reduce(flat, group=self.devices)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    @torch.no_grad()
    def broadcast_parameters(self, networks: Iterable[nn.Module]) -> None:
        """Give every process rank 0's parameters and buffers."""
        if self.size == 1:
            return
        for network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                sent = tensor.contiguous()
                with _reaching():
                    dist.broadcast(sent, 0, group=self.devices)
                tensor.copy_(sent)

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every process; on others what is given is not looked at."""
        if self.size == 1:
            return value
        held = [value]
        with _reaching():
            dist.broadcast_object_list(held, 0, group=self.hosts)
        return held[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes by rank, on rank 0; elsewhere nothing."""
        if self.size == 1:
            return [value]
        held: list[Any] | None = [None] * self.size if self.is_main else None
        with _reaching():
            dist.gather_object(value, held, 0, group=self.hosts)
        return held or []

    def scatter(self, values: Sequence[T]) -> T:
        """The value rank 0 has for this process; on others what is given is not looked at."""
        if self.size == 1:
            return values[0]
        held: list[Any] = [None]
        with _reaching():
            dist.scatter_object_list(held, list(values) if self.is_main else None, 0, group=self.hosts)
        value: T = held[0]
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is true on any process."""
        if self.size == 1:
            return flag
        raised = torch.tensor([int(flag)])
        with _reaching():
            dist.all_reduce(raised, dist.ReduceOp.MAX, group=self.hosts)
        return bool(raised)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            with _reaching():
                dist.barrier(group=self.hosts)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Rank 0 goes through the block before the others do: it makes what they find there."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()


SINGLE_PROCESS = Processes()


@contextmanager
def _reaching() -> Iterator[None]:
    """What torch says when another process cannot be reached, as ``PeerError``.

    It stands in brackets, for NCCL says in the same class of error what a device fails with; torch's own go on.
    """
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError and not isinstance(error, dist.DistError):  # gloo has no class of its own
            raise
        reason = " ".join(str(error).split()).partition(". ")[0][:300]  # gloo goes on with advice to itself
        raise PeerError(f"another process of this run is gone, or has not answered for too long ({reason})") from error
