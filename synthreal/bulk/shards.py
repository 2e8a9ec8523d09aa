"""Refining tar shards of the webdataset format: keys, order, headers and all other members stay the same.

A sample is a run of members with the same key, which is the name up to the first dot of its last part. Members whose
whole extension is that of a picture are refined (``jpg``, but not ``seg.png``: a mask is a label). A sample whose
picture fails, or which has only pictures of other formats, is left out, because its readers expect complete samples.
Beside a picture that is refined, those are labels, such as depth in EXR. Hidden members are not refined. tarfile reads
and writes the shards: webdataset loses the headers, and takes a shard that is cut off for a shorter one.
"""

from __future__ import annotations

import copy
import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from synthreal.bulk.job import ChunkResult
from synthreal.bulk.pictures import Chunk, File, FileGroup, Pictures, make_parent
from synthreal.data.folder import OTHER_SUFFIXES, SUFFIXES, is_hidden
from synthreal.errors import UserError, one_line
from synthreal.files import regular_file
from synthreal.images.signature import LENGTH, picture_format
from synthreal.spec import Skipped

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_NAME = re.compile(r"^((?:.*/|)[^./]+)[.]([^/]*)$")
_EXTENSIONS = tuple(suffix[1:] for suffix in SUFFIXES)


class ShardSource(Pictures):
    """The first ``limit`` pictures of a shard, or of the shards below a folder by relative path; a shard is a block."""

    kind = "shards"

    def __init__(self, path: Path, names: list[str], limit: int | None, samples: int) -> None:
        super().__init__()
        self.path, self._limit, self._samples = path, limit, samples
        self.folder = path.is_dir()
        self.root = path if self.folder else path.parent
        self.names = names
        self._shards = [name for name in self.names if name.lower().endswith(SUFFIX)]
        self.others = [name for name in self.names if not name.lower().endswith(SUFFIX)]
        starts = list(accumulate((_count_pictures(self.root / name) for name in self._shards), initial=0))
        self.count = starts[-1] if limit is None else min(limit, starts[-1])
        blocks = [range(start, min(stop, self.count)) for start, stop in pairwise(starts)]
        self._blocks = [rows for rows in blocks if limit is None or rows.start < self.count]
        if not self.count:
            raise UserError(f"{path}: no member with the extension {', '.join(_EXTENSIONS)} alone; nothing to refine")

    def blocks(self, length: int) -> list[range]:
        """The pictures of every shard, or of those within the limit."""
        return self._blocks

    def samples(self, block: int, rows: range) -> Iterator[FileGroup]:
        """Yield all samples; with a limit, only those with pictures, all of them within it."""
        index = rows.start
        with _open_tar(self.root / self._shards[block]) as tar:
            for _, members in groupby(_members(tar), key=_key):
                sample = []
                for header, content in members:
                    place = index if _is_picture(header) else None
                    file = File(header.name, place, partial(bytes, content), header, failure=_header_fault(header))
                    sample.append(file)
                    index += _is_picture(header)
                if all(file.index is None for file in sample):
                    for file in sample:
                        file.failure = file.failure or _other_format(file)
                if self._limit is not None and index > rows.stop:
                    return
                if self._limit is None or any(file.index is not None for file in sample):
                    yield sample

    def store(self, chunk: Chunk, samples: Iterable[FileGroup], whole: Path) -> ChunkResult:
        """Append the samples to the shard, once for every version; samples with a failed picture are left out."""
        outcome, shard = ChunkResult(), self._shards[chunk.block]
        path = make_parent(whole / shard) if self.folder else whole
        with path.open("wb" if chunk.first else "ab") as file:
            tar = tarfile.open(fileobj=file, mode="w")  # closing it writes the end of the tar
            for sample in samples:
                if failed := [member for member in sample if member.failure is not None]:
                    where = self.root / shard
                    outcome.failed += [Skipped(f"{where}/{member.name}", str(member.failure)) for member in failed]
                    continue
                pictures = sum(member.index is not None for member in sample)
                versions = self._samples if pictures else 1
                for version in range(versions):
                    for member in sample:
                        content = member.read() if member.index is None else member.encoded[version]
                        _append(tar, member.header, content, version if versions > 1 else None)
                outcome.refined += versions * pictures
                outcome.copied += len(sample) - pictures
            if chunk.last:
                tar.close()
        return outcome

    def copies(self, name: str) -> list[str]:
        """One; compressed shards are not copied unrefined."""
        if name.lower().endswith(COMPRESSED):
            raise ValueError(f"a compressed shard is not refined; give the unpacked {SUFFIX}")
        return [name]


def _is_picture(header: tarfile.TarInfo) -> bool:
    name = _NAME.match(header.name)
    hidden = any(is_hidden(part) for part in header.name.split("/") if part not in (".", ".."))
    return header.isfile() and name is not None and name[2].lower() in _EXTENSIONS and not hidden


def _other_format(file: File) -> str | None:
    """The reason why a member is a picture that is not refined, by its extension or first bytes; None for others."""
    name = _NAME.match(file.name)
    if name is None or "." in name[2] or name[2].lower() in _EXTENSIONS:  # a mask, or hidden
        return None
    suffix = f".{name[2].lower()}"
    if (kind := suffix if suffix in OTHER_SUFFIXES else picture_format(file.read()[:LENGTH])) is None:
        return None
    return f"{kind} is not refined; save or rename it as PNG, JPEG, TIFF, BMP or WebP"


def _key(member: tuple[tarfile.TarInfo, bytes]) -> object:
    """The key of a member; a member without one is a sample of its own."""
    header, _ = member
    name = _NAME.match(header.name)
    return name[1] if name and header.isfile() else header


def _count_pictures(shard: Path) -> int:
    """Count the pictures of a shard by its headers.

    tarfile takes a damaged or missing header for the end of the tar; a complete tar ends in zeros.
    """
    try:
        with _open_tar(shard) as tar:
            count = sum(map(_is_picture, _headers(tar)))
            end = tar.offset
        with shard.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"cut off or damaged at byte {end}")
        return count
    # tarfile raises the last three for damaged headers
    except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{shard}: not a readable tar ({error}); make it again, without compression") from error


class _BoundedReader(io.BufferedReader):
    """A file whose ``read`` allocates no more than the rest of the file, whatever size a header claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(rest if size is None or size < 0 else min(size, rest))


@contextmanager
def _open_tar(shard: Path) -> Iterator[tarfile.TarFile]:
    with _BoundedReader(io.FileIO(regular_file(shard))) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        yield tar


def _headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The headers in order; iterating over the tar itself would hold all of them in memory.

    Raises ``tarfile.ReadError`` for a negative size, with which tarfile would read the same members for ever, and for
    sparse files, whose zeros may fill the memory.
    """
    while (header := tar.next()) is not None:
        if tar.offset <= header.offset:
            raise tarfile.ReadError(f"negative size at byte {header.offset}")
        if header.issparse():
            raise tarfile.ReadError(f"{header.name} is stored as a sparse file")
        tar.members.clear()  # type: ignore[attr-defined]
        yield header


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for header in _headers(tar):
        file = tar.extractfile(header) if header.isfile() else None
        yield header, b"" if file is None else file.read()


def _header_fault(header: tarfile.TarInfo) -> str | None:
    """The reason why tarfile cannot write a header that it has read; None if it can."""
    try:
        header.tobuf()
    except (ValueError, OverflowError) as error:
        return f"its header cannot be written again ({one_line(error)})"
    return None


def _append(tar: tarfile.TarFile, header: tarfile.TarInfo | None, content: bytes, version: int | None) -> None:
    """Write a member with other content, and with its version behind the key."""
    assert header is not None, "members of shards have one"
    changed = copy.copy(header)
    changed.size = len(content)
    changed.pax_headers = {name: text for name, text in header.pax_headers.items() if name not in ("path", "size")}
    if version is not None and (name := _NAME.match(header.name)):
        changed.name = f"{name[1]}-{version}.{name[2]}"
    tar.addfile(changed, io.BytesIO(content) if header.isfile() else None)
    tar.members.clear()  # type: ignore[attr-defined]
