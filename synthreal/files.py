"""Reading files of unknown origin, and writing atomically.

Atomic files are written under a temporary name in the same folder, synchronised to disk, then renamed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from pydantic import ValidationError

from synthreal.errors import UserError, WriteError


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Raise an ``OSError`` of the block (read-only, full, not a folder) as a ``WriteError`` about ``path``."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from error


def regular_file(path: Path) -> Path:
    """``path`` if it is a regular file. Raises ``OSError`` for a pipe or a device: reading one may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def real_path(path: Path) -> Path:
    """The absolute ``path`` without links. A link to itself stays; ``Path.resolve`` of Python 3.11 raises for it."""
    return Path(os.path.realpath(path))


def read_bounded(path: Path, largest: int = 16 << 20) -> bytes:
    """The content of a regular file. Raises ``OSError``, and ``ValueError`` for more than ``largest`` bytes."""
    with regular_file(path).open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest >> 20:,} MiB")
    return content


def file_start(path: Path, length: int) -> bytes:
    """The first bytes of a file; none if it is not a regular file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(length)


def reason(error: Exception) -> str:
    """The problem with a file as a phrase for a message."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg'].removeprefix('Value error, ')}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def refuse_link(path: Path) -> None:
    """Raise ``UserError`` for a symbolic link: in a folder from a stranger it can redirect a write to any place."""
    if path.is_symlink():
        raise UserError(f"{path}: is a symbolic link, through which nothing is written; replace it by its target")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to ``path`` if the block succeeds, else removed.

    Temporary files that killed processes have left of the same ``path`` are removed as well.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with write_errors(path):
        for leftover in path.parent.glob(f".{escape(path.name)}.*.partial"):
            if leftover == partial or not _is_alive(leftover.name.split(".")[-2]):
                leftover.unlink(missing_ok=True)
    try:
        yield partial
        with write_errors(path):
            sync(partial)
            partial.replace(path)
            sync(path.parent)
    finally:
        with write_errors(path):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """:func:`atomic_path` for a block that only writes: an ``OSError`` in it is a ``WriteError`` as well."""
    with atomic_path(path) as partial, write_errors(path):
        yield partial


def _is_alive(pid: str) -> bool:
    """Whether a process exists on this machine, or ``pid`` is no number."""
    try:
        os.kill(int(pid), 0)
    except (PermissionError, ValueError):  # of another user, or a file of another program
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
