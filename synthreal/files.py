"""Atomic files: written under a temporary name in the same folder, synchronised to disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthreal.errors import WriteError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an ``OSError`` of the block (read-only, full, not a folder) as a ``WriteError`` about ``path``."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from error


@contextmanager
def completing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to ``path`` if the block succeeds, else removed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with writing(path):
            sync(partial)
            partial.replace(path)
            sync(path.parent)
    finally:
        with writing(path):
            partial.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """:func:`completing` for a block that only writes: an ``OSError`` in it is a ``WriteError`` as well."""
    with completing(path) as partial, writing(path):
        yield partial


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
