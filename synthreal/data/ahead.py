"""Calls in the threads of a pool, whose results come in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def map_ahead(pool: Executor, call: Callable[[Item], Done], items: Iterable[Item], depth: int) -> Iterator[Done]:
    """Yield ``call(item)`` for every item in order, with at most ``depth`` calls in progress."""
    waiting: deque[Future[Done]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
