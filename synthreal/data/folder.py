"""The built-in ``folder`` data set: every image file below a folder, in its native size and depth.

Unchanged: grey (1 channel), grey with alpha (2), RGB (3), RGBA (4), each uint8 or uint16. Converted: 1-bit to grey,
palettes to RGB or RGBA, CMYK and YCbCr to RGB, a transparent colour of a PNG to alpha. EXIF orientation is not applied,
because a rotated eye has another gaze. :mod:`synthreal.images.picture` says which contents are read.

A file is an image file by its suffix; the content decides its format. Other pictures, by their suffix or, if that is
unknown, by their first bytes, are listed as skipped. So are copies, which have the bytes of an image beside them and a
name such as ``0 (1).png``. All other files are ignored. Hidden files and folders (a name that begins with a dot) and
those that systems make, such as ``__MACOSX``, ``@eaDir`` and ``Thumbs.db``, are no part of a folder.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from pydantic import Field

from synthreal.errors import UserError
from synthreal.files import regular_file
from synthreal.images.picture import any_size, picture_problem, read_pixels
from synthreal.images.signature import LENGTH, picture_format
from synthreal.spec import Options, Sample, Skipped, UserPath

SUFFIXES = tuple(".png .apng .jpg .jpeg .jpe .jfif .jif .jfi .tif .tiff .bmp .webp .gif .ppm .pgm .pbm .pnm".split())
# of pictures that are listed as skipped: no decoder is exact, or there are several ways to convert them to 8 or 16 bits
OTHER_SUFFIXES = tuple(
    ".heic .heif .hif .avif .jp2 .j2k .jpf .jpx .jxl .exr .hdr .pfm .pam .tga .dds .psd .psb .xcf .mpo .svg .eps .ico "
    ".icns .pcx .sgi .ras .fits .dcm .dib .raw .dng .nef .nrw .cr2 .cr3 .arw .sr2 .orf .rw2 .raf .pef .srw .x3f .3fr "
    ".iiq .erf .kdc .mrw".split()
)
_SYSTEM = {"__macosx", "thumbs.db", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
# names that file managers give to copies: 1 (1).png, 1 - Copy.png, 1 copy 2.png, Copy of 1.png
_COPY = re.compile(r"Copy of (.+)|(.+?)(?: \(\d+\)| - \w+(?: \(\d+\))?|[ _-]copy(?: \d+)?)", re.IGNORECASE)


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
    return read_files(root, image_files_of(root, options.recursive), lambda _, content: [Sample(read_pixels(content))])


def image_files_of(root: Path, recursive: bool = True, *, remedy: str = "correct the option `root`") -> list[Path]:
    """:func:`image_files` of a data set. Raises ``UserError`` without a folder, or without a format that is read."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {remedy}")
    files = image_files(root, recursive)
    if not any(file.name.lower().endswith(SUFFIXES) for file in files):
        raise UserError(f"{root}: no image file ({', '.join(SUFFIXES)}) in it{unread_formats(files)}; {remedy}")
    return files


def image_files(root: Path, recursive: bool = True) -> list[Path]:
    """The image files and the pictures that are not read below ``root``, sorted by relative path.

    A file with several names through links is listed once.
    """
    resolve, files = cache(Path.resolve), dict[tuple[Path, str], Path]()
    for name in names_below(root, recursive):
        file = root / name
        if name.lower().endswith(SUFFIXES) or unread_format(file) is not None:
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


def unread_format(path: Path) -> str | None:
    """The kind of a picture that is not read, by its suffix or, if that is unknown, its first bytes, else None."""
    if (suffix := path.suffix.lower()) in SUFFIXES:
        return None
    if suffix in OTHER_SUFFIXES:
        return suffix
    try:
        with regular_file(path).open("rb", buffering=0) as file:
            found = picture_format(file.read(LENGTH))
    except OSError:  # not known to be a picture; whoever reads it reports this
        return None
    return found and f"{found} under the suffix {suffix or '(none)'}"


def unread_formats(files: Iterable[Path]) -> str:
    """A part of a message: how many pictures of the three most common unread kinds there are; empty without any."""
    kinds = Counter(kind for file in files if (kind := unread_format(file)) is not None)
    shown = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(3)) + ", ..." * (len(kinds) > 3)
    return f", but pictures that are not read: {shown}" if kinds else ""


def refuse_other_formats(path: Path) -> None:
    """Raise ``ValueError`` for a picture of another format, or under a suffix that is none of ``SUFFIXES``."""
    if (kind := unread_format(path)) is not None:
        raise ValueError(f"{kind} is not read; save or rename it as PNG, JPEG, TIFF, BMP or WebP")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out because of its own name; those of its parents do not matter."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _shown(names: list[str]) -> list[str]:
    return sorted(name for name in names if not is_hidden(name))


def _original(file: Path, content: bytes) -> Path | None:
    """The image beside a file that is a copy of it, by its name and its bytes; None if it is no copy."""
    if (name := _COPY.fullmatch(file.stem)) is None:
        return None
    original = file.with_name((name[1] or name[2]) + file.suffix)
    same = original.is_file() and original.stat().st_size == len(content) and original.read_bytes() == content
    return original if same else None


def read_files(
    root: Path, files: list[Path], samples: Callable[[int, bytes], Iterable[Sample]]
) -> Iterator[Sample | Skipped]:
    """The samples that a function makes of the position and the content of each file; unreadable ones as ``Skipped``.

    The function may raise anything. Raises ``UserError`` at the end if not one file was readable.
    """
    skipped: list[Skipped] = []
    for index, file in enumerate(files):
        try:
            with any_size():
                found = list(samples(index, image_content(file)))
        except Exception as error:  # decoders raise anything on broken bytes
            skipped.append(Skipped(str(file), picture_problem(error)))
            yield skipped[-1]
        else:
            yield from found
    if len(skipped) == len(files):
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {first}")


def image_content(file: Path) -> bytes:
    """The bytes of an image file. Raises ``OSError``, and ``ValueError`` for other formats and copies."""
    refuse_other_formats(file)
    content = regular_file(file).read_bytes()
    if (original := _original(file, content)) is not None:
        raise ValueError(f"a copy of {original.name}")
    return content
