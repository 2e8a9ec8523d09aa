"""The file HDF5 writes to, which never fails in HDF5's eyes.

Why: HDF5 (2.0 and before) cannot survive a failing write. When the disk is full it fails again while closing, keeps
half-closed objects, prints pages of errors and ends the process with a segmentation fault. Here the first error is
kept, HDF5 is told that all is well, and :meth:`FailSafeFile.raise_error` brings the error up in Python, where it can
be told in one line. Ctrl-C during a write takes the same way.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class FailSafeFile(io.RawIOBase):
    """A new file opened for writing through h5py's file-object driver."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._raw = path.open("wb+", buffering=0)
        self._error: BaseException | None = None

    def raise_error(self) -> None:
        """Raise what went wrong first, if anything did."""
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """All of ``data`` at the current position."""
        rest = memoryview(data)
        while self._error is None and len(rest):
            try:
                rest = rest[self._raw.write(rest) :]
            except BaseException as error:  # kept for raise_error
                self._error = error
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the current position; zeros after an error and past the end."""
        view = memoryview(buffer)
        done = 0
        while self._error is None and done < len(view):
            try:
                got = self._raw.readinto(view[done:])
            except BaseException as error:  # kept for raise_error
                self._error = error
                break
            if not got:
                break
            done += got
        view[done:] = bytes(len(view) - done)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; seeking does not touch the disk."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """The current position."""
        return self._raw.tell()

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        if self._error is None:
            try:
                self._raw.truncate(size)
            except BaseException as error:  # kept for raise_error
                self._error = error
        return self.tell() if size is None else size

    def flush(self) -> None:
        """Nothing to do: the file is not buffered."""

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()
