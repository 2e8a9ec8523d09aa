"""A file that HDF5 writes to; its operations never fail.

HDF5 (2.0 and before) cannot survive a failing write. When the disk is full it fails again while closing, keeps
half-closed objects, prints pages of errors and ends the process with a segmentation fault. This file records the first
error and reports success to HDF5; :meth:`FailSafeFile.raise_error` then raises the error in Python. Ctrl-C during a
write is handled in the same way.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any


class FailSafeFile(io.RawIOBase):
    """A new file opened for writing through h5py's driver for file objects."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._raw = path.open("wb+", buffering=0)
        self._error: BaseException | None = None

    def raise_error(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of ``data`` at the current position."""
        rest = memoryview(data)
        while len(rest) and (written := self._attempt(self._raw.write, rest)):
            rest = rest[written:]
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the current position, with zeros after an error and past the end."""
        view, done = memoryview(buffer), 0
        while done < len(view) and (read := self._attempt(self._raw.readinto, view[done:])):
            done += read
        view[done:] = bytes(len(view) - done)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, which does not touch the disk."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """The current position."""
        return self._raw.tell()

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file; None is the current position."""
        self._attempt(self._raw.truncate, size)
        return self.tell() if size is None else size

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()

    def _attempt(self, operation: Callable[..., int | None], *arguments: Any) -> int | None:
        """The result of an operation on the disk; None if it fails or one has failed before."""
        if self._error is None:
            try:
                return operation(*arguments)
            except BaseException as error:
                self._error = error
        return None
