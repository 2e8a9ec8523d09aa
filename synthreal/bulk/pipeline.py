"""Reading, computing and writing at the same time: one thread reads ahead, one writes behind, the caller computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Load = TypeVar("Load")
Done = TypeVar("Done")

AHEAD = 2


def pipeline(loads: Iterable[Load], compute: Callable[[Load], Done], write: Callable[[Done], None]) -> None:
    """Compute and write every load in order; ``AHEAD`` loads are read in advance, one result is written meanwhile.

    ``loads`` is iterated in one thread and ``write`` is called in another; ``compute`` runs in the caller's thread,
    which keeps torch's threads and device. Nothing is written after a write that failed.

    Raises:
        Exception: the error of any stage, once the other stages have finished their current item; Ctrl-C too.
    """
    end: Any = object()
    iterator = iter(loads)
    write_in_progress: Future[None] | None = None
    with ThreadPoolExecutor(1, "reading") as reader, ThreadPoolExecutor(1, "writing") as writer:
        reads = deque(reader.submit(next, iterator, end) for _ in range(AHEAD))
        while (load := reads.popleft().result()) is not end:
            reads.append(reader.submit(next, iterator, end))
            done = compute(load)
            if write_in_progress is not None:
                write_in_progress.result()
            write_in_progress = writer.submit(write, done)
        if write_in_progress is not None:
            write_in_progress.result()
