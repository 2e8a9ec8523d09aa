"""The built-in ``folder`` data set: every image file below a folder, in its own size and depth.

Kept as found: grey (1 channel), grey with alpha (2), RGB (3), RGBA (4), each uint8, and 16-bit grey as uint16.
Converted: palettes, CMYK, YCbCr and the like to RGB, 1-bit to uint8. Pillow decodes 16-bit *colour* to 8 bits per
channel and the first page of a multi-page TIFF; EXIF rotation is not applied, because a rotated eye is another gaze.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from synthreal.data.picture import load_turned
from synthreal.errors import UserError
from synthreal.spec import Options, Sample, Skipped

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_NATIVE = {"L", "LA", "RGB", "RGBA"}


class FolderOptions(Options):
    """Options of the built-in ``folder`` data set."""

    root: str = Field(description="the folder; its png, jpg, jpeg, tif, tiff and bmp files are the data set")
    recursive: bool = Field(default=True, description="also take the files of folders below it, links followed")


def read_folder(options: FolderOptions) -> Iterator[Sample | Skipped]:
    """Every image file in the order of its path below ``root``; unreadable ones as ``Skipped``.

    Images are ``(C, H, W)`` in native size, uint8 or uint16, without labels.

    Raises:
        UserError: no such folder, no image file in it, or not one of them readable.
    """
    root = Path(options.root).expanduser()
    if not root.is_dir():
        raise UserError(f"{options.root}: no such folder; correct the option `root` of the data set 'folder'")
    files = image_files(root, options.recursive)
    if not files:
        raise UserError(f"{root}: no image file ({', '.join(SUFFIXES)}) in it; correct the option `root`")
    return _read(root, files)


def image_files(root: Path, recursive: bool = True) -> list[Path]:
    """The image files below ``root`` by suffix in any case, sorted by relative path.

    Those of a folder that links lead to as well count once.
    """
    real, found = cache(Path.resolve), dict[tuple[Path, str], Path]()
    for file in files_below(root, recursive):
        if file.name.lower().endswith(SUFFIXES):
            found.setdefault((real(file.parent), file.name), file)
    return list(found.values())


def files_below(root: Path, recursive: bool = True) -> list[Path]:
    """Every file below ``root``, see :func:`names_below`."""
    return [root / name for name in names_below(root, recursive)]


def names_below(root: Path, recursive: bool = True) -> list[str]:
    """Every file below ``root`` by its path from there, sorted.

    Folders that are linked to have their files under both names. Links are not followed back to where they are, and in
    a folder that is itself linked to only where no link has led before: folders that all link to one another would be
    listed for ever.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: folder cannot be listed ({error.strerror}); correct its permissions")

    def follow(folder: Path, way: frozenset[Path], linked: bool) -> bool:
        """Whether to go into a folder, noting the way there."""
        real, link = folder.resolve(), folder.is_symlink()
        if link and (real in way or (linked and real in led)):
            return False
        if link:
            led.add(real)
        ways[folder] = way | {real}, linked or link
        return True

    names: list[str] = []
    led: set[Path] = set()  # where links have led
    ways = {root: (frozenset({root.resolve()}), False)}  # to a folder: the real ones on it, and whether by a link
    for here, below, found in os.walk(root, onerror=refuse, followlinks=True):
        folder = Path(here)
        way, linked = ways.pop(folder)
        below[:] = [name for name in sorted(below) if recursive and follow(folder / name, way, linked)]
        place = folder.relative_to(root)
        names += found if place == Path() else [f"{place.as_posix()}/{name}" for name in found]
    return sorted(names)


def ordinary(path: Path) -> Path:
    """The path of a file; of a pipe or a device ``OSError``: reading one may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no ordinary file", str(path))
    return path


def read_image(file: Path) -> np.ndarray:
    """One image file as ``(C, H, W)`` uint8, or uint16 for 16-bit grey; raises what the decoder raises."""
    # not by its name: Pillow scrambles a mapped TIFF that asks to be turned
    with ordinary(file).open("rb") as stream, Image.open(stream) as opened:
        upright = load_turned(opened)
        mode = opened.mode
        if mode == "F":
            raise ValueError("32-bit float pixels; save it with 8 or 16 bits")
        if mode == "I" or mode.startswith("I;16"):
            pixels = np.asarray(opened)
            if pixels.min() < 0 or pixels.max() > 65535:
                raise ValueError("32-bit integer pixels; save it with 8 or 16 bits")
            pixels = pixels.astype(np.uint16)
        elif mode == "1":
            pixels = np.asarray(opened.convert("L"))
        elif mode in _NATIVE:
            pixels = np.asarray(opened)
        else:
            pixels = np.asarray(opened.convert("RGB"))
    pixels = upright(pixels)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _read(root: Path, files: list[Path]) -> Iterator[Sample | Skipped]:
    first: Skipped | None = None
    readable = 0
    for file in files:
        try:
            pixels = read_image(file)
        except Exception as error:  # decoders raise anything on broken bytes; the reason is kept and counted
            skipped = Skipped(str(file), " ".join(str(error).split()) or type(error).__name__)
            first = first or skipped
            yield skipped
            continue
        readable += 1
        yield Sample(pixels)
    if not readable and first is not None:
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {first.path}: {first.reason}")
