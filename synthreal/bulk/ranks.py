"""Several processes at one job, told apart by the environment variables that torchrun sets; no process group.

They meet in the folder of parts: process 0 writes the plan, everybody makes the parts of their own blocks, process 0
assembles. While a process lives it changes a file there now and then; who waits for it watches that file, so that
waiting for a process that has died ends in an error.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from synthreal.distributed.rank import Rank
from synthreal.errors import UserError

PATIENCE = 120.0  # seconds without a sign of life
_BEAT = 2.0


def sign(folder: Path, number: int) -> Path:
    """The file by which process ``number`` shows that it lives."""
    return folder / f"process-{number}.alive"


class Beat:
    """A context manager that shows that this process lives; alone it does nothing."""

    def __init__(self, folder: Path, rank: Rank) -> None:
        self._path = sign(folder, rank.number) if rank.world > 1 else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def __enter__(self) -> Beat:
        if self._path is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is not None:
            self._stop.set()
            self._thread.join()
            self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        assert self._path is not None
        count = 0
        while True:
            try:
                self._path.parent.mkdir(exist_ok=True)
                self._path.write_text(f"{os.getpid()} {count}")
            except OSError:  # a full disk: whoever writes parts says so
                pass
            if self._stop.wait(_BEAT):
                return
            count += 1


class Watch:
    """Waits for another process as long as it shows signs of life."""

    def __init__(self, folder: Path, number: int, patience: float | None = None) -> None:
        self._path, self._number = sign(folder, number), number
        self._patience = PATIENCE if patience is None else patience
        self._last, self._since = "", time.monotonic()

    def check(self) -> None:
        """Raise ``UserError`` when there was none for two minutes."""
        try:
            now = self._path.read_text()
        except OSError:
            now = ""
        if now and now != self._last:
            self._last, self._since = now, time.monotonic()
        elif time.monotonic() - self._since > self._patience:
            raise UserError(
                f"process {self._number} gave no sign of life for {self._patience:.0f} s; "
                "see its error, then run the same command again to continue"
            )
