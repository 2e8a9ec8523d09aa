"""The on-disk format: an HDF5 file of images and labels, read whole, in slices or by index.

``/image (N, C, H, W)`` in stored dtype and ``/labels/<name> (N, *L)``, chunked along N and not compressed;
:mod:`synthreal.data.header` describes the rest. A pack of role ``real`` has no ``/labels``: labels of real
images cannot leak into training because they are not in the file. :mod:`synthreal.data.writer` writes packs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import Field

from synthreal.data.encoding import content_sha256, image_bytes, label_array
from synthreal.data.header import Header, plain_dataset
from synthreal.errors import UserError
from synthreal.files import reason
from synthreal.spec import DatasetSpec, Options, Sample, Skipped, UserPath

Rows = slice | np.ndarray
PLACES = {"root", "path"}  # options that name a folder or file
_BLOCK_BYTES = 16 << 20
# what h5py and the parsing of the header raise on a damaged file
_DAMAGED = (AttributeError, KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError)


class Pack(AbstractContextManager["Pack"]):
    """A pack opened for reading; ``len(pack)`` is its number of images.

    Each process opens the file on first use, so a pack survives fork and pickling. A file that is not HDF5, truncated,
    not a pack, of another format or unlike its header raises ``UserError`` here. ``image``, ``labels``, ``role``,
    ``name``, ``options`` and ``skipped`` are those of its :class:`~synthreal.data.header.Header`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: Any = None
        self._pid = -1
        file = self._open()
        try:
            self.header = header = Header.read(file)
            self.image, self.labels, self.role = header.image, header.labels, header.role
            self.name, self.options, self.skipped = header.name, header.options, header.skipped
            self._n = self._check(file)
        except UserError as error:
            self.close()
            raise UserError(f"{self.path}: {error}") from error
        except _DAMAGED as error:
            self.close()
            raise UserError(f"{self.path}: damaged pack ({reason(error)}); prepare it again") from error

    def __len__(self) -> int:
        return self._n

    def label_bytes(self, names: tuple[str, ...]) -> int:
        """The size in bytes of the labels ``names`` of one image on a device."""
        rows = self.read_labels(slice(0, 1), names).values()
        return sum(label_array(row).nbytes for row in rows)

    def read(self, which: Rows, names: tuple[str, ...] | None = None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Images ``(B, C, H, W)`` in stored dtype and the labels ``names`` (None: all) ``(B, *L)`` as written.

        ``which`` is a slice without step, or strictly increasing indices ``(B,)``. A damaged file raises ``UserError``.
        """
        return self._read("image", which), self.read_labels(which, names)

    def read_labels(self, which: Rows, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """The labels of :meth:`read` without the images."""
        names = tuple(label.name for label in self.labels) if names is None else names
        return {name: self._read(f"labels/{name}", which) for name in names}

    def blocks(
        self, rows: np.ndarray | None = None, names: tuple[str, ...] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """The images ``rows``, strictly increasing (None: all), as ``(rows, images, labels)`` in blocks of 16 MiB."""
        rows = np.arange(len(self)) if rows is None else rows
        step = max(1, _BLOCK_BYTES // image_bytes(self.image))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            yield block, *self.read(block, names)

    def sha256(self) -> str:
        """Hash of images and labels, independent of the header and the layout of the file."""
        return content_sha256((image, labels) for _, image, labels in self.blocks())

    def close(self) -> None:
        """Close this process's handle; the next read opens the file again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1}

    def _read(self, name: str, which: Rows) -> np.ndarray:
        try:
            return _rows(self._open()[name], which)
        except _DAMAGED as error:
            raise UserError(f"{self.path}: damaged, /{name} cannot be read ({error}); prepare it again") from error

    def _open(self) -> Any:
        """The h5py file of this process. Without chunk cache an index reads its own bytes, not its 1 MiB chunk."""
        if self._file is None or self._pid != os.getpid():
            if not self.path.is_file():
                raise UserError(f"{self.path}: no such pack; make one with `synthreal prepare`, or correct the path")
            try:
                self._file = h5py.File(self.path, "r", rdcc_nbytes=0)
            except _DAMAGED as error:
                errno = error.errno if isinstance(error, OSError) else None
                reason = os.strerror(errno) if errno else "not HDF5, or truncated"
                raise UserError(f"{self.path}: not a readable pack ({reason}); prepare it again") from error
            self._pid = os.getpid()
        return self._file

    def _check(self, file: Any) -> int:
        """The number of images. Raises ``ValueError`` if the arrays contradict the header."""
        image, spec = plain_dataset(file, "image"), self.image
        if image.shape[1:] != spec.shape or image.dtype != spec.dtype:
            raise ValueError(f"/image is {image.shape} {image.dtype} but its header says {spec}")
        if image.shape[0] == 0:
            raise ValueError("it holds no image")
        stored = file["labels"] if isinstance(file.get("labels", getlink=True), h5py.HardLink) else {}
        if not isinstance(stored, h5py.Group | dict):
            raise ValueError("/labels is not a group")
        if len(stored) != len(self.labels) or set(stored) != {label.name for label in self.labels}:
            held = sorted(islice(stored, 20))
            raise ValueError(f"/labels holds {held} but its header ({self.role}) {[*map(str, self.labels)]}")
        for label in self.labels:
            if (shape := plain_dataset(stored, label.name).shape) != (image.shape[0], *label.shape):
                raise ValueError(f"/labels/{label.name} is {shape} for {image.shape[0]} images of label {label}")
        return int(image.shape[0])


def _rows(dataset: Any, which: Rows) -> np.ndarray:
    """Rows by slice, or by strictly increasing indices with one read per run: h5py's own index lists are slower."""
    if isinstance(which, slice):
        return np.asarray(dataset[which])
    index = np.asarray(which, dtype=np.int64)
    if index.size and (index[0] < 0 or index[-1] >= dataset.shape[0] or (np.diff(index) <= 0).any()):
        raise IndexError(f"indices must be strictly increasing and within 0..{dataset.shape[0] - 1}")
    out = np.empty((len(index), *dataset.shape[1:]), dataset.dtype)
    for start, stop in pairwise([0, *(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]):
        if start < stop:
            out[start:stop] = dataset[int(index[start]) : int(index[stop - 1]) + 1]
    return out


class PackOptions(Options):
    """Options of the built-in ``pack`` data set."""

    path: UserPath = Field(description=".h5 file written by `synthreal prepare` or `synthreal refine`")


def read_pack(options: PackOptions) -> Iterator[Sample | Skipped]:
    """Every image of a pack in order, with its labels, after the files skipped when it was written."""
    with Pack(options.path) as pack:
        yield from pack.skipped
        for _, image, labels in pack.blocks():
            for row in range(len(image)):
                yield Sample(image[row], {name: values[row] for name, values in labels.items()})


def pack_dataset(spec: DatasetSpec, options: Any) -> DatasetSpec:
    """The data set ``pack`` with the role, the images and the labels that its file records; others unchanged."""
    if not isinstance(options, PackOptions):
        return spec
    with Pack(options.path) as pack:
        return replace(spec, role=pack.role, image=pack.image, labels=pack.labels)
