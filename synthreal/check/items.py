"""The images of a folder or a pack, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synthreal.check.labels import LabelRanges
from synthreal.data.ahead import map_ahead
from synthreal.data.encoding import first_bad, to_unit
from synthreal.data.fingerprint import SIDE, digest, edges
from synthreal.data.folder import image_content, image_files, unread_format, unread_formats
from synthreal.data.pack import Pack
from synthreal.data.source import convert_image
from synthreal.errors import UserError, printable
from synthreal.images.orientation import orientation
from synthreal.images.picture import any_size, picture_problem, read_info, read_pixels
from synthreal.spec import ImageSpec, Role, Skipped

_GREY = ImageSpec(channels=1, height=SIDE, width=SIDE)
_WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Item:
    """What a check needs of one image.

    Attributes:
        name: path relative to the folder, or number in the pack.
        shape: ``(C, H, W)``; C is 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA.
        dtype: of the stored pixels.
        digest: of the stored pixels.
        grey: the image in grey ``(1, 64, 64)``, in its dtype, black where it is transparent.
        edges: its edges ``(480,)``.
        turned: whether EXIF or a TIFF tag turns it; its pixels are as stored.
        several: whether its file holds several pictures, of which it is the first.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: bytes
    grey: np.ndarray
    edges: np.ndarray
    turned: bool = False
    several: bool = False

    @classmethod
    def of(cls, name: str, pixels: np.ndarray, image: ImageSpec = _GREY) -> Item:
        """The item of stored pixels ``(C, H, W)``; ``image`` declares values of background and missing pixels.

        Raises ``UserError`` for pixels that are NaN, infinite or outside [0, 1].
        """
        if first_bad(pixels[None], unit=True) is not None:
            raise UserError("it has a pixel that is NaN, infinite or outside [0, 1]; remove or repair it")
        dtype = pixels.dtype.name
        grey = convert_image(pixels, grey_format(image, dtype))
        return cls(
            name=name,
            shape=pixels.shape,
            dtype=dtype,
            digest=digest(pixels),
            grey=grey,
            edges=edges(to_unit(grey)[0]),
        )


def grey_format(image: ImageSpec, dtype: str) -> ImageSpec:
    """The format of the grey versions of images like ``image``."""
    return replace(image, channels=1, height=SIDE, width=SIDE, dtype=dtype)  # type: ignore[arg-type]


class FolderItems:
    """The pictures below a folder, sorted by path, as stored; of several pictures in a file the first.

    ``count`` includes unreadable ones. ``role`` and ``skipped`` are those of a pack, which a folder does not have.
    """

    role: Role | None = None
    image = _GREY
    skipped: tuple[Skipped, ...] = ()

    def __init__(self, root: Path) -> None:
        self.path = root
        self._files = image_files(root)
        self.count = len(self._files)
        if all(unread_format(file) is not None for file in self._files):
            raise UserError(f"{root}: no image file in it{unread_formats(self._files)}; give a folder of pictures")

    def __iter__(self) -> Iterator[Item | Skipped]:
        """Read every picture; two threads decode."""
        with any_size(), ThreadPoolExecutor(_WORKERS, "check") as pool:
            yield from map_ahead(pool, self._item, self._files, 2 * _WORKERS)

    def _item(self, file: Path) -> Item | Skipped:
        name = printable(file.relative_to(self.path).as_posix())
        try:
            content = image_content(file)
            item = Item.of(name, read_pixels(content, first=True))
            return replace(item, turned=orientation(content) != 1, several=read_info(content).has_further_pictures)
        except Exception as error:  # decoders raise anything on broken bytes
            return Skipped(name, picture_problem(error))


class PackItems:
    """The images of a pack in order. Reading them collects the ranges of its labels in ``labels``.

    ``skipped`` are the files that were skipped when the pack was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pack = Pack(path)
        self.role: Role | None = self._pack.role
        self.image = self._pack.image
        self.skipped = self._pack.skipped
        self.count = len(self._pack)
        self.labels = LabelRanges({label.name: label.unit for label in self._pack.labels})

    def __iter__(self) -> Iterator[Item | Skipped]:
        """Read every image."""
        with self._pack as pack:
            for rows, images, labels in pack.blocks():
                for row, pixels in zip(rows, images, strict=True):
                    try:
                        yield Item.of(f"image {row}", pixels, self.image)
                    except UserError as error:
                        yield Skipped(f"image {row}", str(error))
                for name, values in labels.items():
                    self.labels.add(name, values)


def open_items(path: Path) -> FolderItems | PackItems:
    """The images of a folder or a pack. Raises ``UserError`` if there is neither, or no picture in it."""
    if not path.exists():
        raise UserError(f"{path}: no such folder or pack; correct the path")
    return FolderItems(path) if path.is_dir() else PackItems(path)
