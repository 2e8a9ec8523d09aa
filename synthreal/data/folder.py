"""The built-in ``folder`` data set: every image file below a folder, in its native size and depth.

Unchanged: grey (1 channel), grey with alpha (2), RGB (3), RGBA (4), each uint8, and 16-bit grey as uint16. Converted:
1-bit to grey, palettes to RGB or RGBA, CMYK, YCbCr and the like to RGB, 16-bit *colour* to 8 bits per channel. Of a
multi-page TIFF the first page is read. EXIF orientation is not applied, because a rotated eye has another gaze.
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

from synthreal.data.picture import one_line, stored_pixels
from synthreal.errors import UserError
from synthreal.spec import Options, Sample, Skipped, UserPath

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


class FolderOptions(Options):
    """Options of the built-in ``folder`` data set."""

    root: UserPath = Field(description="folder with png, jpg, jpeg, tif, tiff and bmp files")
    recursive: bool = Field(True, description="also read the folders below it; symbolic links are followed")


def read_folder(options: FolderOptions) -> Iterator[Sample | Skipped]:
    """The images ``(C, H, W)`` below ``root``, uint8 or uint16, sorted by path; unreadable files as ``Skipped``.

    A folder without a readable image raises ``UserError``.
    """
    root = Path(options.root)
    if not root.is_dir():
        raise UserError(f"{options.root}: no such folder; correct the option `root` of the data set 'folder'")
    files = image_files(root, options.recursive)
    if not files:
        raise UserError(f"{root}: no image file ({', '.join(SUFFIXES)}) in it; correct the option `root`")
    return _read(root, files)


def image_files(root: Path, recursive: bool = True) -> list[Path]:
    """The image files below ``root``, sorted by relative path; one with several names through links is listed once."""
    resolve, files = cache(Path.resolve), dict[tuple[Path, str], Path]()
    for name in names_below(root, recursive):
        if name.lower().endswith(SUFFIXES):
            file = root / name
            files.setdefault((resolve(file.parent), file.name), file)
    return list(files.values())


def names_below(root: Path, recursive: bool = True) -> list[str]:
    """The paths, relative to ``root``, of all files below it, sorted.

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
        folders[:] = [name for name in sorted(folders) if recursive and enter(folder / name, parents, linked)]
        below = folder.relative_to(root)
        names += files if below == Path() else [f"{below.as_posix()}/{name}" for name in files]
    return sorted(names)


def regular_file(path: Path) -> Path:
    """``path`` if it is a regular file. Raises ``OSError`` for a pipe or a device: reading one may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def read_image(file: Path) -> np.ndarray:
    """The pixels ``(C, H, W)`` of an image file, see :func:`synthreal.data.picture.stored_pixels`."""
    # opened as a stream, not by its name: Pillow scrambles a memory-mapped TIFF with an orientation
    with regular_file(file).open("rb") as stream, Image.open(stream) as opened:
        return stored_pixels(opened)


def _read(root: Path, files: list[Path]) -> Iterator[Sample | Skipped]:
    skipped: list[Skipped] = []
    for file in files:
        try:
            sample = Sample(read_image(file))
        except Exception as error:  # decoders raise anything on broken bytes
            skipped.append(Skipped(str(file), one_line(error)))
            yield skipped[-1]
        else:
            yield sample
    if len(skipped) == len(files):
        first = f"{skipped[0].path}: {skipped[0].reason}"
        raise UserError(f"{root}: not one of its {len(files)} image files is readable; {first}")
