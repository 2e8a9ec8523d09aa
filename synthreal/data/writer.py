"""Writing a pack: in blocks of bounded memory, checked against its specs, atomically.

The file has a temporary name until it is complete (:mod:`synthreal.files`); any exception, a full disk and Ctrl-C
included, removes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from synthreal.data.encoding import first_bad, image_bytes
from synthreal.data.fail_safe_file import FailSafeFile
from synthreal.data.header import Header
from synthreal.errors import UserError
from synthreal.files import atomic_path, write_errors
from synthreal.spec import ImageSpec, LabelSpec, Sample, Skipped

_CHUNK_BYTES = 1 << 20
_LABEL_ROWS = 4096


@dataclass(frozen=True)
class PackSummary:
    """A pack that was written: its path, the number of images, and the files that could not be read.

    ``total`` is the number of images of the data set of files that they were chosen from; None if all were taken.
    """

    path: Path
    n: int
    skipped: tuple[Skipped, ...]
    total: int | None = None


@dataclass
class BlockValidator:
    """Checks blocks of a data set of files against its specs; the first block fixes the dtypes of the labels.

    ``name`` is the data set in messages. All methods raise ``UserError``; ``first`` is the index of the first image.
    """

    name: str
    image: ImageSpec
    labels: tuple[LabelSpec, ...]
    label_dtypes: dict[str, np.dtype[Any]] = field(default_factory=dict)

    def check_images(self, image: np.ndarray, first: int) -> None:
        """Check the shape, the dtype and the pixels of images ``(B, C, H, W)``."""
        if image.ndim != 4 or image.shape[1:] != self.image.shape or image.dtype != np.dtype(self.image.dtype):
            found = f"{'x'.join(map(str, image.shape[1:]))} {image.dtype}, not {self.image}"
            raise UserError(f"{self.name}, image {first}: it is {found}; correct the reader or its ImageSpec")
        if (bad := first_bad(image, unit=True)) is not None:
            where = f"{self.name}, image {first + bad}"
            raise UserError(f"{where}: a pixel is NaN, infinite or outside [0, 1]; remove or repair it")

    def check_labels(self, labels: Mapping[str, np.ndarray], n: int, first: int) -> None:
        """Check the names, shapes, dtypes and values of labels ``(n, *L)``."""
        where, expected = f"{self.name}, image {first}", {label.name for label in self.labels}
        if set(labels) != expected:
            found = f"{sorted(labels)}, not {sorted(expected)}"
            raise UserError(f"{where}: it has labels {found}; correct the reader or its LabelSpecs")
        for label in self.labels:
            values, which = labels[label.name], f"label {label.name!r}"
            if values.shape != (n, *label.shape):
                raise UserError(
                    f"{where}: {which} has shape {values.shape[1:]}, not {label.shape}; correct the reader (a single "
                    "number is np.array([value])) or its LabelSpec"
                )
            if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
                raise UserError(f"{where}: {which} is {values.dtype}; make it bool, integer or float")
            dtype = self.label_dtypes.setdefault(label.name, values.dtype)
            if values.dtype != dtype:
                raise UserError(f"{where}: {which} is {values.dtype} here and {dtype} before; use one")
            if (bad := first_bad(values)) is not None:
                where = f"{self.name}, image {first + bad}"
                raise UserError(f"{where}: {which} is NaN or infinite in float32; remove or repair that sample")


class PackWriter:
    """Writes a pack block by block; a context manager whose normal exit completes the file.

    The folder must exist. ``header`` gives the fields of :class:`~synthreal.data.header.Header`.

    >>> with PackWriter("eyes.h5", image=spec, labels=labels, role="simulated", name="eyes") as writer:
    ...     writer.append(image, {"gaze": gaze})  # (B, C, H, W) in stored dtype, (B, 3)
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, **header: Any) -> None:
        self.path = Path(path)
        self.n = 0
        self.skipped: list[Skipped] = []
        self._header = Header(**header)
        name, image, labels = f"data set {self._header.name!r}", self._header.image, self._header.labels
        self._validator = BlockValidator(name, image, labels)
        self.label_dtypes = self._validator.label_dtypes
        self.rows = max(1, _CHUNK_BYTES // image_bytes(self._header.image))  # images per chunk
        if self.path.exists() and not overwrite:
            raise UserError(f"{self.path}: already exists; delete it or choose another name")
        if not self.path.parent.is_dir():
            raise UserError(f"{self.path}: {self.path.parent} is not a folder; make it first or choose another name")

    def __enter__(self) -> PackWriter:
        shape = self._header.image.shape
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            with write_errors(self.path):
                self._output = FailSafeFile(partial)
            stack.callback(self._output.close)
            self._file: Any = h5py.File(self._output, "w")
            stack.callback(self._file.close)
            self._file.create_dataset(
                "image", (0, *shape), self._header.image.dtype, maxshape=(None, *shape), chunks=(self.rows, *shape)
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is not None:
            self._open.__exit__(kind, error, traceback)
        else:
            with self._open:
                self._complete()

    def append(self, image: np.ndarray, labels: Mapping[str, np.ndarray] | None = None) -> None:
        """Add images ``(B, C, H, W)`` in stored dtype and their labels ``(B, *L)``, checked against the specs."""
        arrays = {name: np.asarray(values) for name, values in (labels or {}).items()}
        self.check(image, arrays, self.n)
        self._write(image, arrays)

    def check(self, image: np.ndarray, labels: Mapping[str, np.ndarray], first: int) -> None:
        """Raise ``UserError`` for a block that contradicts the specs; ``first`` is the index of its first image.

        The first block fixes the dtypes of the labels.
        """
        self._validator.check_images(image, first)
        if self._header.role != "real":
            self._validator.check_labels(labels, len(image), first)

    def skip(self, item: Skipped) -> None:
        """Record a file that could not be read."""
        self.skipped.append(item)

    def summary(self) -> PackSummary:
        """The number of images written so far, and the files skipped."""
        return PackSummary(self.path, self.n, tuple(self.skipped))

    def _write(self, image: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        if len(image) == 0:
            return
        with write_errors(self.path):
            stop = self.n + len(image)
            arrays = [(self._label(name), labels[name]) for name in self.label_dtypes]
            for dataset, values in [(self._file["image"], image), *arrays]:
                dataset.resize(stop, axis=0)
                dataset[self.n : stop] = values
            self._output.raise_error()
        self.n = stop

    def _label(self, name: str) -> Any:
        """The HDF5 dataset ``/labels/<name>``, created with the first block."""
        if (path := f"labels/{name}") in self._file:
            return self._file[path]
        shape = next(label.shape for label in self._header.labels if label.name == name)
        dtype = self.label_dtypes[name]
        sides = [max(1, side) for side in shape]
        chunks = (max(1, min(_LABEL_ROWS, _CHUNK_BYTES // (math.prod(sides) * dtype.itemsize))), *sides)
        return self._file.create_dataset(path, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks)

    def _complete(self) -> None:
        if self.n == 0:
            unreadable = [f"{item.path}: {item.reason}" for item in self.skipped]
            reason = f"all {len(unreadable)} were unreadable, first {unreadable[0]}" if unreadable else "it is empty"
            raise UserError(f"data set {self._header.name!r}: no image to write to {self.path}; {reason}")
        with write_errors(self.path):
            replace(self._header, skipped=tuple(self.skipped)).write(self._file)
            self._file.close()
            self._output.raise_error()


def write_pack(
    path: str | Path,
    samples: Iterable[Sample | Skipped],
    *,
    limit: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
    **header: Any,
) -> PackSummary:
    """Write all samples (at most ``limit``) to ``path``; see :class:`PackWriter` for the other arguments and errors.

    ``progress`` is called after each block with the number of images written so far.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{path}: the limit is {limit}; give at least 1 image, or none for all")
    block: list[Sample] = []

    def flush() -> None:
        if block:
            names = writer.label_dtypes
            labels = {name: np.stack([np.asarray(sample.labels[name]) for sample in block]) for name in names}
            writer._write(np.stack([np.asarray(sample.image) for sample in block]), labels)
            block.clear()
            progress(writer.n)

    with PackWriter(path, limit=limit, **header) as writer:
        for sample in samples:
            if isinstance(sample, Skipped):
                writer.skip(sample)
                continue
            if not isinstance(sample, Sample) or not isinstance(sample.labels, Mapping):
                raise UserError(
                    f"data set {header['name']!r}: its reader yields a {type(sample).__name__}; "
                    "yield Sample(image, {name: array}) or Skipped(path, reason)"
                )
            labels = {name: np.asarray(values)[None] for name, values in sample.labels.items()}
            writer.check(np.asarray(sample.image)[None], labels, writer.n + len(block))
            block.append(sample)
            if len(block) == writer.rows:
                flush()
            if limit is not None and writer.n + len(block) >= limit:
                break
        flush()
    return writer.summary()
