"""A folder of pictures refined into a folder: the same names, and everything else copied beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from posixpath import splitext
from typing import Any

from synthreal.bulk.job import Job
from synthreal.bulk.pictures import Pictures
from synthreal.bulk.source import OnProgress, Outcome, fingerprint, unreadable
from synthreal.data.folder import SUFFIXES, names_below, ordinary
from synthreal.errors import UserError
from synthreal.files import writing
from synthreal.spec import Skipped

_OTHER = (".webp", ".gif", ".jp2", ".avif", ".heic", ".exr", ".hdr", ".ppm", ".pgm", ".tga", ".dng")


def record_path(target: Path) -> Path:
    """Where a finished job leaves its record beside a result that has no place for it."""
    return target.with_name(f"{target.name}.job.json")


def read_record(target: Path) -> dict[str, Any] | None:
    """That record, or None."""
    try:
        found = json.loads(record_path(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


class FolderSource(Pictures):
    """The first ``limit`` pictures below a folder, by relative path; with a limit only their own sidecars.

    Files that are named like a picture up to a dot are its sidecars: of ``samples`` versions each has its own copy.
    """

    kind = "folder"
    folder = True

    def __init__(self, path: Path, limit: int | None, samples: int) -> None:
        super().__init__()
        self.path, self._samples = path, samples
        self._files = names_below(path)  # as text: a million Paths would be a gigabyte
        self._pictures = [name for name in self._files if _is_picture(name)][:limit]
        self._stems = {splitext(name)[0] for name in self._pictures} if limit is not None or samples > 1 else set()
        others = (name for name in self._files if not _is_picture(name))
        self._others = [name for name in others if limit is None or self._stem(name)]
        self.count = len(self._pictures)
        if samples > 1:
            self._refuse_twins()

    def identity(self) -> str:
        """Of every file."""
        return fingerprint((name, self.path / name) for name in self._files)

    def content(self, index: int) -> bytes:
        """The bytes of a file."""
        return ordinary(self.path / self._pictures[index]).read_bytes()

    def assemble(self, job: Job, parts: list[Path], whole: Path, on_progress: OnProgress) -> Outcome:
        """Write the pictures under their names, then copy the rest."""
        failed: list[Skipped] = []
        refined = copied = 0
        total = self.count + len(self._others)
        with writing(whole):
            whole.mkdir()
            for done, (name, found) in enumerate(zip(self._pictures, self.pieces(job, parts), strict=True), 1):
                on_progress(done, total)
                if isinstance(found, str):
                    failed.append(Skipped(str(self.path / name), found))
                    continue
                refined += 1
                for target, content in zip(self._versions(name), found, strict=True):
                    _file(whole / target).write_bytes(content)
        for done, name in enumerate(self._others, self.count + 1):
            on_progress(done, total)
            suffix = splitext(name)[1]
            if suffix.lower() in _OTHER:
                why = f"{suffix} is not refined; save it as PNG, JPEG, TIFF or BMP"
                failed.append(Skipped(str(self.path / name), why))
                continue
            if (bad := unreadable(self.path / name)) is not None:
                failed.append(bad)
                continue
            copied += 1
            with writing(whole):
                for target in self._copies(name):
                    shutil.copy2(self.path / name, _file(whole / target))
        os.sync()
        return Outcome(refined * self._samples, copied, tuple(failed))

    def record(self, target: Path) -> dict[str, Any] | None:
        """It lies beside the folder."""
        return read_record(target)

    def _stem(self, name: str) -> str | None:
        """The picture a file belongs to, without its suffix; not looked for where nothing depends on it."""
        start, place = name.rfind("/") + 1, len(name)
        while (place := name.rfind(".", start, place)) > start:
            if name[:place] in self._stems:
                return name[:place]
        return None

    def _versions(self, name: str) -> list[str]:
        return self._numbered(name, splitext(name)[0])

    def _copies(self, name: str) -> list[str]:
        stem = self._stem(name)
        return [name] if stem is None else self._numbered(name, stem)

    def _numbered(self, name: str, stem: str) -> list[str]:
        if self._samples == 1:
            return [name]
        return [f"{stem}-{version}{name[len(stem) :]}" for version in range(self._samples)]

    def _refuse_twins(self) -> None:
        seen: set[str] = set()
        for name in self._names():
            if name in seen:
                raise UserError(f"{self.path}: two files would be called {name} with --samples; rename one of them")
            seen.add(name)

    def _names(self) -> Iterator[str]:
        for name in self._pictures:
            yield from self._versions(name)
        for name in self._others:
            yield from self._copies(name)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
