"""Writing a pack: in blocks with bounded memory, checked against its specs, and all or nothing.

The file grows under a temporary name (:mod:`synthreal.files`); any exception, a full disk and Ctrl-C included,
removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from synthreal.data.fail_safe_file import FailSafeFile
from synthreal.data.header import Header
from synthreal.data.validator import BlockValidator
from synthreal.errors import UserError
from synthreal.files import completing, writing
from synthreal.spec import ImageSpec, LabelSpec, Role, Sample, Skipped

_CHUNK_BYTES = 1 << 20
_LABEL_ROWS = 4096


@dataclass(frozen=True)
class PackSummary:
    """A pack that was written: where, how many images, and what was left out."""

    path: Path
    n: int
    skipped: tuple[Skipped, ...]


class PackWriter:
    """A pack being written, block by block; a context manager whose normal exit completes the file.

    >>> with PackWriter("eyes.h5", image=spec, labels=labels, role="simulated", name="eyes") as writer:
    ...     writer.append(image, {"gaze": gaze})  # (B, C, H, W) in stored dtype, (B, 3)

    Args:
        path: the file to make; its folder must exist.
        image: what every image must be.
        labels: the labels every image must carry, no more and no less; ignored for role ``real``.
        role: ``real`` stores no labels whatever is appended.
        name: the data set, for messages and for the header.
        options: its options, recorded.
        versions: distribution -> version, recorded.
        limit: the number of images asked for, recorded; None means all there are.
        overwrite: replace an existing file instead of refusing.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image: ImageSpec,
        labels: tuple[LabelSpec, ...] = (),
        role: Role,
        name: str,
        options: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        limit: int | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.n = 0
        self.skipped: list[Skipped] = []
        self._header = Header(
            image=image,
            labels=labels,
            role=role,
            name=name,
            options=options or {},
            versions=versions or {},
            limit=limit,
        )
        self.contract = BlockValidator(self._header)
        row = int(np.prod(image.shape)) * np.dtype(image.dtype).itemsize
        self.rows = max(1, _CHUNK_BYTES // row)  # images per chunk
        if self.path.exists() and not overwrite:
            raise UserError(f"{self.path}: already exists; delete it or choose another name")
        if not self.path.parent.is_dir():
            raise UserError(f"{self.path}: {self.path.parent} is not a folder; make it first or choose another name")

    def __enter__(self) -> PackWriter:
        shape = self._header.image.shape
        with ExitStack() as stack:
            partial = stack.enter_context(completing(self.path))
            with writing(self.path):
                self._target = FailSafeFile(partial)
            stack.callback(self._target.close)
            self._file: Any = h5py.File(self._target, "w")
            stack.callback(self._file.close)
            self._file.create_dataset(
                "image", (0, *shape), self._header.image.dtype, maxshape=(None, *shape), chunks=(self.rows, *shape)
            )
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._open.__exit__(kind, error, traceback)
            return
        with self._open:
            self._complete()

    def append(self, image: np.ndarray, labels: Mapping[str, np.ndarray] | None = None) -> None:
        """Add images ``(B, C, H, W)`` in stored dtype and their labels ``(B, *L)``.

        Raises:
            UserError: a shape, dtype or label is not what the specs say, a value is not finite (naming the image),
                or the disk does not take it.
        """
        arrays = {name: np.asarray(values) for name, values in (labels or {}).items()}
        self.contract.check(image, arrays, self.n)
        if len(image) == 0:
            return
        with writing(self.path):
            stop = self.n + len(image)
            targets = [(self._file["image"], image)]
            targets += [(self._label(name), arrays[name]) for name in self.contract.label_dtypes]
            for target, values in targets:
                target.resize(stop, axis=0)
                target[self.n : stop] = values
            self._target.raise_error()
        self.n = stop

    def skip(self, item: Skipped) -> None:
        """Record something that could not be read."""
        self.skipped.append(item)

    def summary(self) -> PackSummary:
        """What was written."""
        return PackSummary(self.path, self.n, tuple(self.skipped))

    def _label(self, name: str) -> Any:
        """The dataset ``/labels/<name>``, made at its first block."""
        if (path := f"labels/{name}") in self._file:
            return self._file[path]
        shape = next(label.shape for label in self._header.labels if label.name == name)
        dtype = self.contract.label_dtypes[name]
        rows = max(1, min(_LABEL_ROWS, _CHUNK_BYTES // max(1, int(np.prod(shape)) * dtype.itemsize)))
        chunks = (rows, *(max(1, side) for side in shape))
        return self._file.create_dataset(path, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks)

    def _complete(self) -> None:
        if self.n == 0:
            why = "it is empty"
            if self.skipped:
                first = self.skipped[0]
                why = f"all {len(self.skipped)} were unreadable, first {first.path}: {first.reason}"
            raise UserError(f"data set {self._header.name!r}: not one image to write to {self.path}; {why}")
        with writing(self.path):
            self._file.attrs.update(replace(self._header, skipped=tuple(self.skipped)).to_attributes())
            self._file.close()
            self._target.raise_error()


def write_pack(
    path: str | Path,
    samples: Iterable[Sample | Skipped],
    *,
    image: ImageSpec,
    labels: tuple[LabelSpec, ...] = (),
    role: Role,
    name: str,
    options: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
    overwrite: bool = False,
) -> PackSummary:
    """Write every sample (at most ``limit``) to ``path``; see :class:`PackWriter` for the arguments and errors.

    ``progress`` is called with the number of images written so far, after each block.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{path}: the limit is {limit}; ask for at least 1 image, or leave it out for all")
    writer = PackWriter(
        path,
        image=image,
        labels=labels,
        role=role,
        name=name,
        options=options,
        versions=versions,
        limit=limit,
        overwrite=overwrite,
    )
    block: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []

    def flush() -> None:
        if block:
            stacked = {name: np.stack([values[name] for _, values in block]) for name in writer.contract.label_dtypes}
            writer.append(np.stack([pixels for pixels, _ in block]), stacked)
            block.clear()
            if progress is not None:
                progress(writer.n)

    with writer:
        for sample in samples:
            if isinstance(sample, Skipped):
                writer.skip(sample)
                continue
            if not isinstance(sample, Sample) or not isinstance(sample.labels, Mapping):
                raise UserError(
                    f"data set {name!r}: its reader yields a {type(sample).__name__}; "
                    "yield Sample(image, {name: array}) or Skipped(path, reason)"
                )
            pixels = np.asarray(sample.image)
            values = {key: np.asarray(value) for key, value in sample.labels.items()}
            writer.contract.check(
                pixels[None], {key: value[None] for key, value in values.items()}, writer.n + len(block)
            )
            block.append((pixels, values))
            if len(block) == writer.rows:
                flush()
            if limit is not None and writer.n + len(block) >= limit:
                break
        flush()
    return writer.summary()
