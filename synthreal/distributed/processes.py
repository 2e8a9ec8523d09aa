"""The processes of a run and their collective operations.

Each process has complete networks and takes its share of every mini-batch. Before an optimizer steps, gradients are
averaged over all processes, as one flat tensor, so that every process takes the step that a single process would take
on the whole mini-batch. DistributedDataParallel is not used: its hooks act on every backward pass, which is wrong for
micro-batches and for D inside the update of R, and it renames the entries of a checkpoint; networks of 0.1 to 5
million parameters gain nothing from overlapping communication. There are two groups: one for tensors on the device
(NCCL or gloo), and one between hosts (gloo) for decisions, so that no device has to be synchronized for them.
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
    """The processes of a run, seen from one of them. With a single process, all operations return their input.

    Collective operations must be called by all processes in the same order; they raise ``PeerError`` if one is gone.

    Attributes:
        rank: of this process, 0 to ``size`` - 1; only rank 0 writes and prints.
        size: number of processes.
        local_rank: of this process on its machine.
        local_size: number of processes on its machine.
        hosts: the group for decisions; None is torch's default group.
        devices: the group for tensors on the device; None is torch's default group.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    hosts: ProcessGroup | None = None
    devices: ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes and prints."""
        return self.rank == 0

    @torch.no_grad()
    def all_reduce_mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, bit-identical on each; one message for all tensors."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _connected():
            dist.all_reduce(flat, group=self.devices)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    @torch.no_grad()
    def broadcast_parameters(self, networks: Iterable[nn.Module]) -> None:
        """Copy the parameters and buffers of rank 0 to every process."""
        if self.size == 1:
            return
        for network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                sent = tensor.contiguous()
                with _connected():
                    dist.broadcast(sent, 0, group=self.devices)
                tensor.copy_(sent)

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every process; the argument is ignored on other ranks."""
        if self.size == 1:
            return value
        box = [value]
        with _connected():
            dist.broadcast_object_list(box, 0, group=self.hosts)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes by rank, on rank 0; an empty list on other ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] | None = [None] * self.size if self.is_main else None
        with _connected():
            dist.gather_object(value, values, 0, group=self.hosts)
        return values or []

    def scatter(self, values: Sequence[T]) -> T:
        """The value that rank 0 passes for this process; the argument is ignored on other ranks."""
        if self.size == 1:
            return values[0]
        box: list[Any] = [None]
        with _connected():
            dist.scatter_object_list(box, list(values) if self.is_main else None, 0, group=self.hosts)
        value: T = box[0]
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any process."""
        if self.size == 1:
            return flag
        raised = torch.tensor([int(flag)])
        with _connected():
            dist.all_reduce(raised, dist.ReduceOp.MAX, group=self.hosts)
        return bool(raised)

    def wait(self) -> None:
        """A barrier: wait for all processes."""
        if self.size > 1:
            with _connected():
                dist.barrier(group=self.hosts)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block on rank 0 before the other ranks, which use what it creates."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()


SINGLE_PROCESS = Processes()


@contextmanager
def _connected() -> Iterator[None]:
    """Raise the errors of a broken connection as ``PeerError``, with torch's reason.

    Other errors of torch pass through.
    """
    try:
        yield
    except RuntimeError as error:
        if type(error) is not RuntimeError and not isinstance(error, dist.DistError):  # gloo's is plain
            raise
        reason = " ".join(str(error).split()).partition(". ")[0][:300]  # without the advice that gloo appends
        raise PeerError(reason) from error
