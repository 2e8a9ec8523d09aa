"""The built-in ``pictures`` data set: windows of one size from pictures of any size, as a viewer shows them.

Every image file below a folder is turned as EXIF or a TIFF tag says, brought to a scale if one is set, and cut into
windows. Its aspect ratio stays: a picture that is smaller than a window is enlarged until it covers one. Alpha is
composited on a grey first, so that colours hidden under transparent pixels do not bleed into their neighbours. Of an
animation, of pages and of other files with several pictures, the first is read; stacks in one page of a TIFF are listed
as skipped, like all that :mod:`synthreal.data.folder` does not read.

With labels, a window shows the whole picture, because what a label says may be anywhere in it: the picture is brought
to a size that just covers the window, and what one side of it is longer is cut off evenly. The pictures come in a
random order, because an estimator may take the first ones alone, and those of a class often lie together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn.functional import interpolate

from synthreal.data.encoding import composite, from_unit, stored_array, to_unit
from synthreal.data.folder import FolderOptions, image_files_of, read_files
from synthreal.data.ondisk import choose_rows
from synthreal.data.picture_labels import PictureLabels
from synthreal.data.seed import derived_generator
from synthreal.images.orientation import orientation, upright
from synthreal.images.picture import read_pixels
from synthreal.spec import LARGEST_SIDE, DatasetSpec, Sample, Skipped, StoredDtype

PICTURES = "pictures"  # the name of the data set, and of the recipe of two folders
MOST_ENLARGED = 8  # a picture that needs more is nothing but blur
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class PicturesOptions(FolderOptions):
    """Options of the built-in ``pictures`` data set."""

    background: float = Field(0.0, ge=0, le=1, description="grey behind transparent pixels, 0 black to 1 white")
    crop: tuple[Side, Side] = Field(
        description="[height, width] of a window in px; must equal height and width of `image`"
    )
    crops: int = Field(
        1,
        ge=1,
        description="maximum number of windows per picture, at different random places, the same in every run",
    )
    scale: Side | None = Field(
        None, description="px of the shorter side to which every picture is brought; none = as they are"
    )
    files: int | None = Field(
        None,
        ge=1,
        description="maximum number of files, a random choice that is the same in every run; none = all",
    )
    labels: PictureLabels | None = Field(
        None, description="where the labels are; a window then shows its whole picture; none = no labels"
    )

    @model_validator(mode="after")
    def _show_whole_pictures(self) -> Self:
        if self.labels is not None and (self.crops, self.scale) != (1, None):
            raise ValueError("with labels, a window shows its whole picture; set crops=1 and scale=none")
        return self


def read_pictures(options: PicturesOptions) -> Iterator[Sample | Skipped]:
    """The windows ``(C, *crop)`` of the pictures, C 1 or 3, uint8 or uint16, sorted by path; unreadable as ``Skipped``.

    Pictures without a label, if there are labels, are skipped as well, and the order is random but always the same.
    A folder without a readable image raises ``UserError``.
    """
    root, files = Path(options.root), picture_files(options)
    if options.labels is None:
        return read_files(root, files, partial(_windows, options))
    order = torch.randperm(len(files), generator=derived_generator("cpu", 0, "pictures"))
    files, label_of = [files[row] for row in order.tolist()], options.labels.reader(root)
    return read_files(root, files, lambda index, content: [_whole(options, content, label_of(files[index]))])


def labelled_dataset(spec: DatasetSpec, options: Any) -> DatasetSpec:
    """The data set ``pictures`` with the labels that its options name; others unchanged."""
    if not isinstance(options, PicturesOptions) or options.labels is None:
        return spec
    return replace(spec, labels=(options.labels.spec,))


def picture_files(options: PicturesOptions) -> list[Path]:
    """The files that a data set reads."""
    files = image_files_of(Path(options.root), options.recursive)
    return [files[row] for row in choose_rows(len(files), options.files)]


def scaled_size(height: int, width: int, *, scale: int | None, crop: tuple[int, int]) -> tuple[int, int]:
    """``(H, W)`` of a picture with the shorter side ``scale`` (None: its own), enlarged if needed to cover a window."""
    factor = 1.0 if scale is None else scale / min(height, width)
    factor = max(factor, crop[0] / height, crop[1] / width)
    return max(round(factor * height), crop[0]), max(round(factor * width), crop[1])


def scaled_sizes(sizes: tuple[tuple[int, int], ...], shorter: int | None) -> tuple[tuple[int, int], ...]:
    """``(H, W)`` of pictures that are brought to a shorter side (None: their own)."""
    return tuple(scaled_size(*size, scale=shorter, crop=(1, 1)) for size in sizes)


def _windows(options: PicturesOptions, index: int, content: bytes) -> Iterator[Sample]:
    """The windows of one file; their places depend on its ``index`` alone."""
    pixels = _scaled(upright(read_pixels(content, first=True), orientation(content)), options)
    height, width = options.crop
    free = torch.tensor([pixels.shape[1] - height + 1, pixels.shape[2] - width + 1])
    places = torch.rand(options.crops, 2, generator=derived_generator("cpu", index, "windows"))
    for top, left in dict.fromkeys(map(tuple, (places * free).long().tolist())):  # a small picture has few places
        # a view would keep the whole picture in memory for as long as a writer or a batch holds the window
        yield Sample(pixels[:, top : top + height, left : left + width].copy())


def _whole(options: PicturesOptions, content: bytes, labels: dict[str, np.ndarray]) -> Sample:
    """The window in the middle of a picture that just covers it."""
    pixels = _scaled(upright(read_pixels(content, first=True), orientation(content)), options)
    height, width = options.crop
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    return Sample(pixels[:, top : top + height, left : left + width], labels)


def _scaled(pixels: np.ndarray, options: PicturesOptions) -> np.ndarray:
    """A picture ``(C, H, W)`` composited and scaled, in its dtype; unchanged if there is nothing to do."""
    height, width = pixels.shape[1:]
    scale = options.scale if options.labels is None else 1  # the smallest, so that the picture just covers the window
    size = scaled_size(height, width, scale=scale, crop=options.crop)
    if size[0] > MOST_ENLARGED * height:
        raise ValueError(f"{height}x{width} px, too small to be enlarged to {size[0]}x{size[1]} px")
    has_alpha = len(pixels) in (2, 4)
    if size == (height, width) and not has_alpha:
        return pixels
    dtype: StoredDtype = "uint16" if pixels.dtype == np.uint16 else "uint8"
    image = torch.from_numpy(to_unit(pixels))
    if has_alpha:
        image = composite(image, options.background)
    if size != (height, width):
        image = interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    return stored_array(from_unit(image, dtype))
