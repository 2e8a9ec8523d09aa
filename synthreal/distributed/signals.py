"""Signals that stop a training loop between two steps: Ctrl-C, SIGTERM, a closed terminal, a killed launcher."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(*, patient: bool = False) -> Iterator[threading.Event]:
    """An event that the first SIGINT, SIGTERM or SIGHUP sets; a second signal has its usual effect, unless ``patient``.

    torchrun sends its workers a second signal right after Ctrl-C has reached all, and kills what is left after 30
    seconds: its workers must be patient. A second SIGHUP is ignored, because a closing terminal may send several.

    Only the main thread can receive signals. Signals that the parent process had ignored (as a shell does with SIGINT
    for background jobs, and nohup with SIGHUP) stay ignored.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def stop(number: int, frame: object) -> None:
        event.set()
        if patient or number == signal.SIGHUP:
            return
        for known in before.keys() - {signal.SIGHUP}:
            signal.signal(known, before[known])

    for number in before:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)


def launcher_exited() -> Callable[[], bool]:
    """A function that tells whether the torchrun that started this process has exited; a killed one sends no signal."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return lambda: False
    parent = os.getppid()
    return lambda: os.getppid() != parent
