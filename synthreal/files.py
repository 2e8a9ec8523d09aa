"""Files that are either whole or absent: write beside the target, fsync, rename, fsync the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthreal.errors import WriteError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failing write below ``path`` (read-only, full, not a folder) into one line for the user."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error.strerror or str(error)) from error


@contextmanager
def completing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder: ``path`` itself when the block succeeds, gone when it fails."""
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
    """:func:`completing` for a block that does nothing but write: what fails in it is :func:`writing` too."""
    with completing(path) as partial, writing(path):
        yield partial


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
