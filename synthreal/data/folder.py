"""The built-in ``folder`` data set: every image file below a folder, in its native size and depth.

Unchanged: grey (1 channel), grey with alpha (2), RGB (3), RGBA (4), each uint8 or uint16. Converted: 1-bit to grey,
palettes to RGB or RGBA, CMYK and YCbCr to RGB, a transparent colour of a PNG to alpha. EXIF orientation is not applied,
because a rotated eye has another gaze. :mod:`synthreal.data.picture` says which contents are read.

A file is an image file by its suffix; the content decides its format. Suffixes of other picture formats are listed as
skipped; all other suffixes are ignored. Hidden files and folders (a name that begins with a dot), ``__MACOSX`` and
``Thumbs.db`` are no part of a folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import splitext

from pydantic import Field

from synthreal.data.picture import picture_problem, read_pixels
from synthreal.errors import UserError
from synthreal.spec import Options, Sample, Skipped, UserPath

SUFFIXES = tuple(".png .apng .jpg .jpeg .jpe .jfif .tif .tiff .bmp .webp .gif .ppm .pgm .pbm .pnm".split())
# of pictures that are listed as skipped: decoders are missing or not exact, or have no one way to 8 or 16 bits
OTHER_SUFFIXES = tuple(
    ".heic .heif .avif .jp2 .j2k .jpf .jpx .jxl .exr .hdr .pfm .pam .tga .dds .psd .psb .xcf .svg .eps .ico .icns .pcx "
    ".sgi .fits .dcm .dib .raw .dng .nef .cr2 .cr3 .arw .orf .rw2 .raf".split()
)
_HIDDEN = ("__MACOSX", "Thumbs.db")


class FolderOptions(Options):
    """Options of the built-in ``folder`` data set."""

    root: UserPath = Field(description="folder with PNG, JPEG, TIFF, BMP, WebP, PPM, PGM, PBM and GIF files")
    recursive: bool = Field(True, description="also read the folders below it; symbolic links are followed")
    background: float = Field(
        0.0,
        ge=0,
        le=1,
        description="grey behind transparent pixels, 0 black to 1 white, where a run has no alpha channel",
    )


def read_folder(options: FolderOptions) -> Iterator[Sample | Skipped]:
    """The images ``(C, H, W)`` below ``root``, uint8 or uint16, sorted by path; unreadable files as ``Skipped``.

    A folder without a readable image raises ``UserError``.
    """
    root = Path(options.root)
    if not root.is_dir():
        raise UserError(f"{options.root}: no such folder; correct the option `root` of the data set 'folder'")
    files = image_files(root, options.recursive)
    if not any(file.name.lower().endswith(SUFFIXES) for file in files):
        raise UserError(f"{root}: no image file ({', '.join(SUFFIXES)}) in it; correct the option `root`")
    return _read(root, files)


def image_files(root: Path, recursive: bool = True) -> list[Path]:
    """The image files below ``root``, sorted by relative path, with those of formats that are not read.

    One with several names through links is listed once.
    """
    resolve, files = cache(Path.resolve), dict[tuple[Path, str], Path]()
    for name in names_below(root, recursive):
        if name.lower().endswith((*SUFFIXES, *OTHER_SUFFIXES)):
            file = root / name
            files.setdefault((resolve(file.parent), file.name), file)
    return list(files.values())


def names_below(root: Path, recursive: bool = True) -> list[str]:
    """The paths, relative to ``root``, of all files below it, sorted; without hidden files and folders.

    Symbolic links to folders are followed, so a linked folder has its files under both names. A link to a folder on its
    own path is not followed. Below another link, a link is not followed if an earlier link had the same target;
    otherwise folders that link to one another would never end.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: folder cannot be listed ({error.strerror}); correct its permissions")

    def enter(folder: Path, parents: frozenset[Path], linked: bool) -> bool:
        """Whether to list a folder; if so, its real parents are recorded."""
        real, link = folder.resolve(), folder.is_symlink()
        if link and (real in parents or (linked and real in targets)):
            return False
        if link:
            targets.add(real)
        pending[folder] = parents | {real}, linked or link
        return True

    names: list[str] = []
    targets: set[Path] = set()  # of the links followed so far
    pending = {root: (frozenset({root.resolve()}), False)}  # folder: its real parents, and whether it is below a link
    for path, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        folder = Path(path)
        parents, linked = pending.pop(folder)
        folders[:] = [name for name in _shown(folders) if recursive and enter(folder / name, parents, linked)]
        below = folder.relative_to(root)
        names += _shown(files) if below == Path() else [f"{below.as_posix()}/{name}" for name in _shown(files)]
    return sorted(names)


def regular_file(path: Path) -> Path:
    """``path`` if it is a regular file. Raises ``OSError`` for a pipe or a device: reading one may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def refuse_other_formats(name: str) -> None:
    """Raise ``ValueError`` for a file name with one of ``OTHER_SUFFIXES``."""
    if (suffix := splitext(name)[1].lower()) in OTHER_SUFFIXES:
        raise ValueError(f"{suffix} is not read; save it as PNG, JPEG, TIFF, BMP or WebP")


def _shown(names: list[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith(".") and name not in _HIDDEN)


def _read(root: Path, files: list[Path]) -> Iterator[Sample | Skipped]:
    skipped: list[Skipped] = []
    for file in files:
        try:
            refuse_other_formats(file.name)
            sample = Sample(read_pixels(regular_file(file).read_bytes()))
        except Exception as error:  # decoders raise anything on broken bytes
            skipped.append(Skipped(str(file), picture_problem(error)))
            yield skipped[-1]
        else:
            yield sample
    if len(skipped) == len(files):
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {first}")
