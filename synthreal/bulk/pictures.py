"""Picture files in folders and shards, refined in batches of one size.

Threads decode the next pictures and encode the refined ones while the network runs.

Samples are read in chunks. Within a chunk, pictures of one size share batches, the last of which is filled up with
copies; so a refined picture does not depend on the other pictures. Pictures that cannot be read or refined are listed,
and the job continues.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from tarfile import TarInfo

import numpy as np

from synthreal.bulk.job import MAX_RECORD_BYTES, ChunkResult, ExecutionSettings, Job, OnProgress, WorkFolder, split
from synthreal.data.ahead import map_ahead
from synthreal.data.encoding import stored_array
from synthreal.device import is_out_of_memory
from synthreal.errors import UserError
from synthreal.files import read_bounded, real_path, regular_file, write_errors, write_text
from synthreal.images.picture import Picture, picture_problem, picture_size, read_picture
from synthreal.inference.indexed import BLOCK, IndexedRefiner
from synthreal.inference.tiles import margin_of
from synthreal.spec import Skipped

BLOCK_PX = 1 << 22
CHUNK_BYTES = 1 << 26  # of a chunk in memory, where a pixel takes 16
_PX_BYTES = 16
_WORKERS = min(8, os.cpu_count() or 1)


@dataclass
class File:
    """A picture of a folder, or a member of a shard; ``index`` is None for a member that is copied.

    ``refined`` holds ``(C, H, W)`` in stored dtype and ``encoded`` the bytes, for each version; ``failure`` says why
    the picture cannot be refined.
    """

    name: str
    index: int | None
    read: Callable[[], bytes]
    header: TarInfo | None = None
    picture: Picture | None = None
    refined: list[np.ndarray] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    failure: str | None = None


FileGroup = list[File]


@dataclass
class Chunk:
    """Samples of a block; all chunks of a block share its outcome."""

    block: int
    outcome: ChunkResult
    first: bool = False
    last: bool = False
    samples: list[FileGroup] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(file.index is not None for file in chain(*self.samples))


class Pictures(ABC):
    """Pictures with an index, in blocks.

    ``path`` is the input as the user named it, ``root`` the folder of its files, ``names`` their names, ``others`` the
    names of those that are copied; ``folder`` says whether the result is a folder.
    """

    kind: str
    folder: bool
    path: Path
    root: Path
    names: list[str]
    others: list[str]
    count: int

    def __init__(self) -> None:
        self._channels = 0
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="picture")

    @abstractmethod
    def samples(self, block: int, rows: range) -> Iterator[FileGroup]:
        """The samples of a block, in order."""

    @abstractmethod
    def store(self, chunk: Chunk, samples: Iterable[FileGroup], whole: Path) -> ChunkResult:
        """Write the samples of a chunk, whose pictures are encoded or failed, below ``whole``."""

    @abstractmethod
    def copies(self, name: str) -> list[str]:
        """The names of the copies of another file. Raises ``ValueError`` if it should not be copied."""

    def check_channels(self, channels: int, run: Path) -> None:
        """Raise ``UserError`` if a refiner with ``channels`` channels can take no picture at all."""
        self._channels = channels
        if channels not in (1, 3):
            raise UserError(f"{self.path}: the refiner of {run} takes {channels} channels, pictures have 1 or 3")

    def sizes(self) -> list[tuple[int, int]]:
        """``(H, W)`` of the readable ones among the first 256 pictures, from their headers."""
        sizes = []
        samples = chain.from_iterable(self.samples(block, rows) for block, rows in enumerate(self.blocks(BLOCK)))
        for file in islice((file for file in chain.from_iterable(samples) if file.index is not None), BLOCK):
            with suppress(Exception):  # reported when the picture is read
                sizes.append(picture_size(file.read()))
        return sizes

    def block_size(self, batch: int, size: tuple[int, int]) -> int:
        """Pictures of a block: 256 at most, in whole batches, which need no copies."""
        return max(batch, min(BLOCK, BLOCK_PX // (size[0] * size[1])) // batch * batch)

    def blocks(self, length: int) -> list[range]:
        """The pictures of every block."""
        return split(self.count, length)

    def loads(self, block: int, rows: range, settings: ExecutionSettings) -> Iterator[Chunk]:
        """Read a block in chunks of ``settings.block`` samples, or of fewer large ones."""
        chunk, size = Chunk(block, outcome := ChunkResult(), first=True), 0
        for sample in map_ahead(self._pool, self._decode, self.samples(block, rows), 2 * _WORKERS):
            chunk.samples.append(sample)
            size += sum(_PX_BYTES * file.picture.colour[0].size for file in sample if file.picture is not None)
            size += sum(file.header.size for file in sample if file.header is not None)
            if len(chunk.samples) >= settings.block or size >= max(_PX_BYTES * settings.px, CHUNK_BYTES):
                yield chunk
                chunk, size = Chunk(block, outcome), 0
        chunk.last = True
        yield chunk

    def pixels(self, load: Chunk) -> list[np.ndarray]:
        """The readable pictures of a chunk, in stored dtype."""
        return [file.picture.visible for file in chain(*load.samples) if file.picture is not None]

    def refine(self, load: Chunk, refiner: IndexedRefiner, job: Job) -> None:
        """Refine the pictures of a chunk in batches of one size and depth."""
        alike: dict[tuple[object, ...], list[tuple[File, int, np.ndarray]]] = {}
        for file in chain(*load.samples):
            if file.picture is not None and file.index is not None:
                pixels = file.picture.visible
                alike.setdefault((pixels.shape, pixels.dtype), []).append((file, file.index, pixels))
        for pictures in alike.values():
            height, width = pictures[0][2].shape[1:]
            full = max(1, min(job.settings.batch_size, job.settings.px // (height * width)))
            for start in range(0, len(pictures), full):
                files, index, arrays = zip(*pictures[start : start + full], strict=True)
                try:
                    if refiner.is_tiled(height, width):
                        margin_of(refiner.transform.refiner)
                    refined = refiner.refine_stored(np.stack(arrays), index, full=full, versions=job.spec.samples)
                    versions = [stored_array(version) for version in refined]
                except (UserError, RuntimeError) as error:  # too small for the network, for example
                    if is_out_of_memory(error) or "CUDA error" in str(error):  # which spoils the whole process
                        raise
                    for file in files:
                        file.failure = f"{height}x{width} px: {picture_problem(error)}"
                else:
                    for row, file in enumerate(files):
                        file.refined = [version[row] for version in versions]

    def write(self, load: Chunk, work: WorkFolder) -> None:
        """Encode and store a chunk; after the last one of a block write the ``done`` file, which holds its outcome."""
        with write_errors(work.whole):
            load.outcome += self.store(load, map_ahead(self._pool, _encode, load.samples, 2 * _WORKERS), work.whole)
        if load.last:
            os.sync()
            write_text(work.done_path(load.block), load.outcome.model_dump_json())

    def assemble(self, job: Job, work: WorkFolder, on_progress: OnProgress) -> ChunkResult:
        """Copy the other files, once every block is finished.

        A file behind a link out of the folder is not copied: in a folder from a stranger it may be any of the user's.
        """
        outcome, real_root = ChunkResult(), real_path(self.root)
        for block, rows in enumerate(self.blocks(job.settings.block)):
            path = work.done_path(block)
            try:
                found = ChunkResult.model_validate_json(read_bounded(path, MAX_RECORD_BYTES))
                if rows and not (found.refined or found.failed):
                    raise ValueError("no picture")
                outcome += found
            except (OSError, ValueError):
                raise UserError(f"{path}: damaged; delete it and run the same command again") from None
        for done, name in enumerate(self.others, 1):
            try:
                copies = self.copies(name)
                if not real_path(self.root / name).is_relative_to(real_root):
                    raise ValueError("behind a link out of the folder; copy it into the folder")
                regular_file(self.root / name).open("rb").close()
            except (ValueError, OSError) as error:
                reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)
                outcome.failed.append(Skipped(str(self.root / name), reason))
            else:
                with write_errors(work.whole):
                    for copy in copies:
                        shutil.copy2(self.root / name, make_parent(work.whole / copy))
                outcome.copied += 1
            on_progress(done, len(self.others))
        os.sync()
        return outcome

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _decode(self, sample: FileGroup) -> FileGroup:
        for file in sample:
            if file.index is not None:
                try:
                    picture = read_picture(file.read())
                    if len(picture.colour) < self._channels:
                        raise ValueError(f"it is grey, the refiner takes {self._channels} channels")
                    file.picture = picture
                except Exception as error:  # decoders raise anything on broken bytes
                    file.failure = picture_problem(error)
        return sample


def make_parent(path: Path) -> Path:
    """The same path, whose folder now exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _encode(sample: FileGroup) -> FileGroup:
    for file in sample:
        if file.picture is not None and file.failure is None:
            try:
                file.encoded = [file.picture.encoded(pixels) for pixels in file.refined]
            except Exception as error:  # encoders raise anything too
                file.failure = picture_problem(error)
    return sample
