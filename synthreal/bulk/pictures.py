"""Picture files, wherever they lie: decoded ahead, refined in batches of one size, encoded behind.

Within a block images of one size are refined together as soon as they fill a batch, the rest at its end, filled up
with copies; so a picture comes out the same whatever lies beside it. What cannot be read or refined is listed, and the
job goes on. A part is a tar of the encoded files, by index.
"""

from __future__ import annotations

import io
import os
import tarfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError
from torch import Tensor

from synthreal.bulk.job import ExecutionSettings, Job
from synthreal.bulk.pipeline import ahead
from synthreal.bulk.source import Source
from synthreal.data.encoding import stored_array
from synthreal.data.picture import Picture, any_size, picture_size, read_picture
from synthreal.errors import UserError
from synthreal.files import completing, writing
from synthreal.inference.indexed import BLOCK, IndexedRefiner
from synthreal.inference.tiles import margin_of

PART_PX = 1 << 23
_WORKERS = min(8, os.cpu_count() or 1)
_FAILED = "failed"


@dataclass(frozen=True)
class Failed:
    """Pictures that could not be refined, and why."""

    index: list[int]
    reason: str

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Group:
    """Pictures of one size and depth, and after refining their versions: one ``(B, C, H, W)`` tensor each."""

    index: list[int]
    pictures: list[Picture]
    refined: list[Tensor]

    def __len__(self) -> int:
        return len(self.index)


Found = Failed | Group


class Pictures(Source[Found, Found]):
    """Pictures that have an index; where from and where to is a subclass's matter."""

    path: Path
    channels: int

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="picture")

    @abstractmethod
    def content(self, index: int) -> bytes:
        """The bytes of a picture's file."""

    def agree(self, channels: int, run: Path) -> None:
        """Pictures are told one by one whether they fit."""
        self.channels = channels
        if channels not in (1, 3):
            raise UserError(f"{self.path}: the refiner of {run} takes {channels} channels, pictures have 1 or 3")

    def sizes(self) -> list[tuple[int, int]]:
        """Of the readable ones among the first, by their headers."""
        found = []
        with any_size():
            for index in range(min(self.count, BLOCK)):
                with suppress(Exception):  # told when it is its turn
                    found.append(picture_size(self.content(index)))
        return found

    def cut(self, batch: int, size: tuple[int, int]) -> tuple[int, int]:
        """A batch is a group; blocks of 256 pictures at most, but of whole batches: copies would fill up the last."""
        return batch, max(batch, min(BLOCK, PART_PX // (size[0] * size[1])) // batch * batch)

    def loads(self, start: int, stop: int, how: ExecutionSettings) -> Iterator[Found]:
        """Groups as they fill, then what is left of each size."""
        waiting: dict[tuple[object, ...], Group] = {}
        indices = range(start, stop)
        with any_size():
            for index, found in zip(indices, ahead(self._pool, self._read, indices, 2 * _WORKERS), strict=True):
                if isinstance(found, Failed):
                    yield found
                    continue
                key = (found.colour.shape, found.colour.dtype)
                group = waiting.setdefault(key, Group([], [], []))
                group.index.append(index)
                group.pictures.append(found)
                height, width = found.colour.shape[1:]
                if len(group) == how.full(height, width) or (how.tile is not None and height * width > how.tile**2):
                    yield waiting.pop(key)
        yield from waiting.values()

    def refine(self, load: Found, painter: IndexedRefiner, how: ExecutionSettings, samples: int) -> Found:
        """The luma of colour where the refiner has one channel."""
        if isinstance(load, Failed):
            return load
        pixels = np.stack([picture.colour for picture in load.pictures])
        height, width = pixels.shape[-2:]
        try:
            if painter.tiled(height, width):
                margin_of(painter.transform.refiner)
            refined = painter.stored(pixels, load.index, full=how.full(height, width), versions=samples)
        except (UserError, RuntimeError) as error:  # too small for it, say
            if "memory" in str(error):
                raise
            return Failed(load.index, f"{height}x{width} px: {_line(error)}")
        load.refined.extend(refined)
        return load

    @contextmanager
    def part(self, path: Path) -> Iterator[Callable[[Found], None]]:
        """A tar of ``INDEX-VERSION`` and ``INDEX-failed``."""
        with completing(path) as partial_path, writing(path), tarfile.open(partial_path, "w") as tar:
            yield lambda found: self._store(tar, found)

    def pieces(self, job: Job, parts: list[Path]) -> Iterator[list[bytes] | str]:
        """Of each picture in order its encoded versions, or why it failed."""
        for block, path in enumerate(parts):
            try:
                with tarfile.open(path, "r:") as tar:
                    members = {member.name: member for member in tar}
                    for index in job.rows(block):
                        if (failed := members.get(f"{index}-{_FAILED}")) is not None:
                            yield _content(tar, failed).decode()
                        else:
                            names = [f"{index}-{version}" for version in range(job.what.samples)]
                            yield [_content(tar, members[name]) for name in names]
            except (tarfile.TarError, KeyError) as error:
                raise UserError(f"{path}: damaged ({error}); delete it and run the same command again") from error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> Picture | Failed:
        try:
            picture = read_picture(self.content(index))
        except Exception as error:  # decoders raise anything on broken bytes; the reason is listed
            return Failed([index], _line(error))
        if len(picture.colour) < self.channels:
            return Failed([index], f"it is grey, the refiner takes {self.channels} channels")
        return picture

    def _store(self, tar: tarfile.TarFile, found: Found) -> None:
        if isinstance(found, Failed):
            for index in found.index:
                _add(tar, f"{index}-{_FAILED}", found.reason.encode())
            return
        versions = [stored_array(refined) for refined in found.refined]
        for row, encoded in enumerate(
            ahead(self._pool, partial(_encoded, found.pictures, versions), range(len(found)), 2 * _WORKERS)
        ):
            if isinstance(encoded, str):
                _add(tar, f"{found.index[row]}-{_FAILED}", encoded.encode())
                continue
            for version, content in enumerate(encoded):
                _add(tar, f"{found.index[row]}-{version}", content)


def _encoded(pictures: list[Picture], versions: list[np.ndarray], row: int) -> list[bytes] | str:
    """The files of a row of a group, or why there are none."""
    try:
        return [pictures[row].encoded(version[row]) for version in versions]
    except Exception as error:  # as of decoders
        return _line(error)


def _line(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words name an address in memory
        return "not a whole PNG, JPEG, TIFF or BMP"
    return " ".join(str(error).split()) or type(error).__name__


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, "a part holds plain files"
    return file.read()
