"""Tar shards as webdataset has them: keys, order and all other members are kept.

A sample is a run of members with one key, the name up to the first dot of its last part. Refined are members whose
extension is that of a picture and nothing more (``jpg``, not ``seg.png``: a mask is a label). A sample with a picture
that fails is left out whole: half a sample would break who reads it.
"""

from __future__ import annotations

import copy
import io
import re
import shutil
import tarfile
import threading
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synthreal.bulk.folders import read_record
from synthreal.bulk.job import Job
from synthreal.bulk.pictures import Pictures
from synthreal.bulk.source import OnProgress, Outcome, fingerprint, unreadable
from synthreal.data.folder import SUFFIXES, files_below, ordinary
from synthreal.errors import UserError
from synthreal.files import completing, writing
from synthreal.spec import Skipped

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_NAME = re.compile(r"^((?:.*/|)[^./]+)[.]([^/]*)$")
_EXTENSIONS = tuple(suffix[1:] for suffix in SUFFIXES)


class ShardSource(Pictures):
    """The first ``limit`` pictures of a shard, or of the shards below a folder by relative path."""

    kind = "shards"

    def __init__(self, path: Path, limit: int | None) -> None:
        super().__init__()
        self.path, self._limit = path, limit
        self._single = path.is_file()
        self.folder = not self._single
        files = [path] if self._single else files_below(path)
        self._shards = [file for file in files if file.suffix.lower() == SUFFIX]
        self._others = [file for file in files if file.suffix.lower() != SUFFIX]
        self._starts = [0]
        for shard in self._shards:
            self._starts.append(self._starts[-1] + len(_places(shard)))
        self.count = self._starts[-1] if limit is None else min(limit, self._starts[-1])
        self._lock, self._held = threading.Lock(), (-1, [(0, 0)])

    def identity(self) -> str:
        """Of the shards."""
        return fingerprint((self._name(file).as_posix(), file) for file in [*self._shards, *self._others])

    def content(self, index: int) -> bytes:
        """The bytes of a member."""
        shard = bisect_right(self._starts, index) - 1
        with self._lock:
            if self._held[0] != shard:
                self._held = (shard, _places(self._shards[shard]))
            offset, size = self._held[1][index - self._starts[shard]]
        with self._shards[shard].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def assemble(self, job: Job, parts: list[Path], whole: Path, on_progress: OnProgress) -> Outcome:
        """Write every shard again with other pictures; other files of a folder are copied."""
        failed: list[Skipped] = []
        refined = copied = 0
        pieces = self._told(job, parts, on_progress)
        for shard, start in zip(self._shards, self._starts, strict=False):
            if self._limit is not None and start >= self.count:
                break
            target = whole if self._single else whole / self._name(shard)
            with writing(whole):
                target.parent.mkdir(parents=True, exist_ok=True)
            with completing(target) as partial, writing(target), tarfile.open(partial, "w") as written:
                for sample in _samples(shard):
                    found = [next(pieces, None) if _is_picture(member) else None for member, _ in sample]
                    pictures = [
                        (member, piece) for (member, _), piece in zip(sample, found, strict=True) if _is_picture(member)
                    ]
                    bad = [(member, piece) for member, piece in pictures if isinstance(piece, str)]
                    failed += [Skipped(f"{shard}/{member.name}", str(why)) for member, why in bad]
                    if bad or any(piece is None for _, piece in pictures):
                        continue  # failed, or beyond the limit
                    if self._limit is not None and not pictures:
                        continue
                    copied += len(sample) - len(pictures)
                    versions = job.what.samples if pictures else 1
                    refined += versions * len(pictures)
                    for version in range(versions):
                        for (member, content), piece in zip(sample, found, strict=True):
                            data = piece[version] if isinstance(piece, list) else content
                            _add(written, member, data, None if versions == 1 else version)
        for file in self._others:
            if file.name.lower().endswith(COMPRESSED):
                failed.append(Skipped(str(file), f"a compressed shard is not refined; give the unpacked {SUFFIX}"))
                continue
            if (broken := unreadable(file)) is not None:
                failed.append(broken)
                continue
            copied += 1
            with writing(whole):
                (whole / self._name(file)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, whole / self._name(file))
        return Outcome(refined, copied, tuple(failed))

    def record(self, target: Path) -> dict[str, Any] | None:
        """It lies beside the shards."""
        return read_record(target)

    def _told(self, job: Job, parts: list[Path], on_progress: OnProgress) -> Iterator[list[bytes] | str]:
        for done, piece in enumerate(self.pieces(job, parts), 1):
            on_progress(done, self.count)
            yield piece

    def _name(self, file: Path) -> Path:
        return Path(file.name) if self._single else file.relative_to(self.path)


def _is_picture(member: tarfile.TarInfo) -> bool:
    found = _NAME.match(member.name)
    return member.isfile() and found is not None and found[2].lower() in _EXTENSIONS


def _places(shard: Path) -> list[tuple[int, int]]:
    """Offset and size of every picture in a shard, found from header to header.

    ``tarfile`` takes a broken header, or a file that is cut off at one, for the end; a whole tar ends in zeros.
    """
    try:
        with tarfile.open(ordinary(shard), "r:") as tar:
            places = [(member.offset_data, member.size) for member in _members(tar) if _is_picture(member)]
            end = tar.offset
        with shard.open("rb") as file:
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"cut off or damaged at byte {end}")
        return places
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{shard}: not a readable tar ({error}); make it again, without compression") from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Headers one after another; ``tarfile`` would keep them all."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        yield member


def _samples(shard: Path) -> Iterator[list[tuple[tarfile.TarInfo, bytes]]]:
    """Samples in order, each with its members and their bytes; what has no key stands alone."""
    with tarfile.open(shard, "r:") as tar:
        sample: list[tuple[tarfile.TarInfo, bytes]] = []
        last: object = None
        for member in _members(tar):
            found = _NAME.match(member.name)
            key = found[1] if found and member.isfile() else member
            if sample and key != last:
                yield sample
                sample = []
            file = tar.extractfile(member) if member.isfile() else None
            sample.append((member, b"" if file is None else file.read()))
            last = key
        if sample:
            yield sample


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes, version: int | None) -> None:
    """The member with other bytes, and of several versions with its number behind the key."""
    changed = copy.copy(member)
    changed.size = len(content)
    changed.pax_headers = {name: word for name, word in member.pax_headers.items() if name not in ("path", "size")}
    found = _NAME.match(member.name)
    if version is not None and found is not None:
        changed.name = f"{found[1]}-{version}.{found[2]}"
    tar.addfile(changed, io.BytesIO(content) if member.isfile() else None)
    tar.members.clear()  # type: ignore[attr-defined]
