"""Refining a folder of pictures into a folder: names stay the same, and the other files in it are copied.

Hidden files and folders, which :func:`synthreal.data.folder.names_below` leaves out, are not; nor are pictures
of formats that are not read, which are listed as failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from posixpath import splitext

from synthreal.bulk.job import ChunkResult
from synthreal.bulk.pictures import Chunk, File, FileGroup, Pictures, make_parent
from synthreal.data.folder import SUFFIXES, refuse_other_formats
from synthreal.errors import UserError
from synthreal.files import regular_file
from synthreal.spec import Skipped


class FolderSource(Pictures):
    """The first ``limit`` pictures below a folder by relative path; with a limit only their sidecars are copied.

    The sidecars of a picture are the files named like it up to a dot. With several ``samples``, every version of the
    picture gets its own copy of them.
    """

    kind = "folder"
    folder = True

    def __init__(self, path: Path, names: list[str], limit: int | None, samples: int) -> None:
        super().__init__()
        self.path = self.root = path
        self.names = names
        self._samples = samples
        self._pictures = [name for name in self.names if name.lower().endswith(SUFFIXES)][:limit]
        self._stems = {splitext(name)[0] for name in self._pictures} if limit is not None or samples > 1 else set()
        others = (name for name in self.names if not name.lower().endswith(SUFFIXES))
        self.others = [name for name in others if limit is None or self._stem(name)]
        self.count = len(self._pictures)
        if samples > 1:
            self._check_names()

    def samples(self, block: int, rows: range) -> Iterator[FileGroup]:
        """Every picture is a sample."""
        for index in rows:
            yield [File(self._pictures[index], index, partial(_read, self.root / self._pictures[index]))]

    def store(self, chunk: Chunk, samples: Iterable[FileGroup], whole: Path) -> ChunkResult:
        """Write every version of the pictures."""
        outcome = ChunkResult()
        for (file,) in samples:
            if file.failure is not None:
                outcome.failed.append(Skipped(str(self.root / file.name), file.failure))
                continue
            for name, content in zip(self._versions(file.name), file.encoded, strict=True):
                make_parent(whole / name).write_bytes(content)
            outcome.refined += len(file.encoded)
        return outcome

    def copies(self, name: str) -> list[str]:
        """One for each version of its picture; pictures of other formats are not copied unrefined."""
        refuse_other_formats(self.root / name)
        return self._copies(name)

    def _stem(self, name: str) -> str | None:
        """The name without suffix of the picture that a sidecar belongs to."""
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

    def _check_names(self) -> None:
        """Raise ``UserError`` if two files of the result would have the same name."""
        seen: set[str] = set()
        for name in chain(*map(self._versions, self._pictures), *map(self._copies, self.others)):
            if name in seen:
                raise UserError(f"{self.path}: two files would be called {name} with --samples; rename one of them")
            seen.add(name)


def _read(path: Path) -> bytes:
    return regular_file(path).read_bytes()
