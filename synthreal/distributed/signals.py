"""Ctrl-C, SIGTERM, a terminal that closes and the end of torchrun, as what a loop may heed between two steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(*, patient: bool = False) -> Iterator[threading.Event]:
    """An event set by the first SIGINT, SIGTERM or SIGHUP; a second one acts as usual, unless ``patient``.

    torchrun sends its workers a second one as soon as Ctrl-C has reached all, and kills what is left after 30 seconds:
    what it started must be patient. SIGHUP is nobody's second press: a terminal that closes may send several.

    Only the main thread can listen. What whoever started the process had it ignore (as a shell does with SIGINT for a
    job in the background, and nohup with SIGHUP) stays ignored.
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
    """Asks whether the torchrun that started this process is gone: killed, it tells nobody to stop."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return lambda: False
    parent = os.getppid()
    return lambda: os.getppid() != parent
