"""Reading, refining and writing at once: a thread reads ahead, a thread writes behind, the caller's computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Load = TypeVar("Load")
Done = TypeVar("Done")

AHEAD = 2
_POLL = 0.1


class _Stopped(Exception):
    """Another stage has failed."""


class _Channel(Generic[Item]):
    """A short queue between two threads that both give up when either fails."""

    def __init__(self, stop: threading.Event) -> None:
        self._items: queue.Queue[tuple[Item] | None] = queue.Queue(AHEAD)
        self._stop = stop

    def put(self, item: Item) -> None:
        self._put((item,))

    def end(self) -> None:
        self._put(None)

    def __iter__(self) -> Iterator[Item]:
        while True:
            try:
                found = self._items.get(timeout=_POLL)
            except queue.Empty:
                if self._stop.is_set():
                    raise _Stopped from None
                continue
            if found is None:
                return
            yield found[0]

    def _put(self, item: tuple[Item] | None) -> None:
        while not self._stop.is_set():
            try:
                return self._items.put(item, timeout=_POLL)
            except queue.Full:
                continue
        raise _Stopped


def pipeline(loads: Iterable[Load], compute: Callable[[Load], Done], write: Callable[[Iterator[Done]], None]) -> None:
    """Compute every load in order, while others are read and written.

    Args:
        loads: iterated in a thread of its own.
        compute: called here, so that torch keeps the caller's threads and device.
        write: called once, in a thread of its own, with everything computed; what it must clean up when another stage
            fails, it cleans up as for any exception out of its iterator.

    Raises:
        Exception: whatever a stage raises, after all have ended; Ctrl-C too.
    """
    stop = threading.Event()
    read, done = _Channel[Load](stop), _Channel[Done](stop)
    errors: list[BaseException] = []

    def guarded(stage: Callable[[], None]) -> None:
        try:
            stage()
        except _Stopped:
            pass
        except BaseException as error:  # raised again below, where the caller sees it
            errors.append(error)
            stop.set()

    def reading() -> None:
        for load in loads:
            read.put(load)
        read.end()

    threads = [
        threading.Thread(target=guarded, args=(stage,), name=name, daemon=True)
        for name, stage in (("reading", reading), ("writing", lambda: write(iter(done))))
    ]
    for thread in threads:
        thread.start()
    try:
        for load in read:
            done.put(compute(load))
        done.end()
        for thread in threads:
            thread.join()
    except _Stopped:
        pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def ahead(pool: Executor, call: Callable[[Item], Done], items: Iterable[Item], depth: int) -> Iterator[Done]:
    """``call`` of every item in order, ``depth`` of them under way at once."""
    waiting: list[Future[Done]] = []
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= depth:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()
