"""Reader of GTSRB, the German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012): its speed limits.

Format: a folder ``000NN`` for each class with photographs ``TTTTT_FFFFF.ppm``, frame F of track T, and ``GT-000NN.csv``
with the place of the sign (see :mod:`synthreal_signs.rois`). Only the eight speed limits 20, 30, 50, 60, 70, 80, 100
and 120 are read, classes 0 to 5, 7 and 8; other folders are ignored. The photographs of the benchmark's own test
(``Final_Test``) are not read, because no track is known of them: test photographs are tracks of the training folders.

An image is a square around the sign, resized with antialiasing and without distortion:

- With CSV files: the sign's longer side plus a margin on each side, around the sign's centre. Where the square leaves
  the photograph, the photograph's edge pixels are repeated.
- Without them, the sign is in the middle, and its size follows from the border that the authors left around it: a tenth
  of the sign, at least 5 px. A tenth is also the default margin, with which no square leaves such a photograph.

All eight folders must have a CSV file, or none: if framing differed between classes, it would tell them apart.

The framing was chosen on the validation tracks (2026-12-01): estimators trained on photographs for 6 epochs (mean of
two seeds, learning rate 2e-3) err in 9.3 % with a margin of a tenth, 8.8 with a sixth, and in 11.8 on the largest
square of each photograph; with 10 epochs in 7.1 with a tenth and 10.2 on the largest square.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from synthreal import Options, Sample, Skipped, UserError
from synthreal_signs.geometry import CLASS, GTSRB_CLASSES, SIZE, TRACK, RealRole
from synthreal_signs.rois import Roi, read_rois
from synthreal_signs.tracks import FEWEST_TRACKS, SPLITS, Key, mix, split_tracks

LABELS = (CLASS, TRACK)
PLACES = (  # of the class folders, below root
    ".",
    "Images",
    "Final_Training/Images",
    "Training",
    "GTSRB/Final_Training/Images",
    "GTSRB/Training",
    "gtsrb/Final_Training/Images",
    "gtsrb/GTSRB/Final_Training/Images",
    "gtsrb/GTSRB/Training",  # where torchvision extracts it
)
BORDER, LEAST_BORDER = 0.1, 5  # of a photograph around its sign: a share of the sign, px
SIDES = (11, 1000)  # px of a photograph that is read
TRACKS_OF_CLASS = 100_000  # a file name has five digits
REMEDY = "restore it from GTSRB_Final_Training_Images.zip"
_NAME = re.compile(r"([0-9]{5})_([0-9]{5})\.ppm", re.IGNORECASE)


class GTSRBOptions(Options):
    """Location of the data set, and the framing of signs."""

    root: Path = Field(description="Folder that contains GTSRB/Final_Training/Images, or a folder on the way there.")
    margin: float = Field(
        default=BORDER, ge=0, le=1, description="Space on each side of the sign, as a share of its longer side."
    )


@dataclass(frozen=True)
class _Class:
    """The files of a class: photographs by (track, frame), the table of signs if there is one, and other files."""

    folder: Path
    photographs: Mapping[tuple[int, int], Path]
    table: Path | None
    others: tuple[Skipped, ...]


def read_gtsrb(options: GTSRBOptions, role: RealRole) -> Iterator[Sample | Skipped]:
    """Read the photographs of the tracks of a role, classes and tracks mixed, in an order that is always the same.

    Args:
        options: folder and margin.
        role: determines the tracks (see :mod:`synthreal_signs.tracks`); images of role ``real`` have no labels.

    Yields:
        :class:`Sample` with a uint8 image ``(3, 32, 32)`` and, except for ``real``, the labels ``class`` ``()`` int64,
        index of the speed limit, and ``track`` ``()`` int64, 100000 times the class number plus the track. A
        :class:`Skipped` names each photograph of the role that is broken, whose sign is not located by the CSV file, or
        that is missing from a track, and in every role each other file, except hidden ones.

    Raises:
        UserError: a folder is missing, holds fewer than three tracks or cannot be listed; a CSV file is broken or only
            some classes have one; or no photograph of the role is readable.
    """
    root = _find_folders(options.root)
    classes = {number: _list_class(root / f"{number:05d}") for number in GTSRB_CLASSES}
    tables = [files.table for files in classes.values()]
    if any(tables) and not all(tables):
        without = next(files.folder for files in classes.values() if files.table is None)
        raise UserError(
            f"{without}: has no GT-{without.name}.csv, but other classes have one, and framing must not differ between "
            "classes; restore it from GTSRB, or delete the CSV files of all classes"
        )
    rois = {number: read_rois(files.table, number) for number, files in classes.items() if files.table is not None}
    chosen: dict[Key, Path] = {}
    for number, files in classes.items():
        yield from files.others
        parts = split_tracks(number, {track for track, _ in files.photographs})
        tracks = {track for track, part in parts.items() if part == SPLITS[role]}
        yield from _missing(files, rois.get(number, {}), tracks)
        chosen |= {(number, *key): path for key, path in files.photographs.items() if key[0] in tracks}
    read = 0
    for number, track, frame in mix(chosen):
        path = chosen[number, track, frame]
        try:
            image = _read_photograph(path, rois.get(number), options.margin)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            yield Skipped(str(path), getattr(error, "strerror", None) or str(error))
            continue
        read += 1
        labels = {CLASS.name: GTSRB_CLASSES.index(number), TRACK.name: TRACKS_OF_CLASS * number + track}
        yield Sample(image, {} if role == "real" else {name: np.array(value) for name, value in labels.items()})
    if not read:
        raise UserError(f"{root}: none of the {len(chosen)} photographs of role {role} is readable; {REMEDY}")


def crop_square(pixels: np.ndarray, centre: tuple[float, float], side: float) -> np.ndarray:
    """A square of a photograph, resized.

    Args:
        pixels: ``(H, W, 3)`` uint8.
        centre: x and y in px from the left and the upper edge.
        side: px; where the square leaves the photograph, edge pixels are repeated.

    Returns:
        ``(3, 32, 32)`` uint8.
    """
    (height, width), (x, y) = pixels.shape[:2], centre
    left, upper, right, lower = x - side / 2, y - side / 2, x + side / 2, y + side / 2
    pad = math.ceil(max(0.0, -left, -upper, right - width, lower - height))
    padded = Image.fromarray(np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    box = (left + pad, upper + pad, right + pad, lower + pad)
    small = padded.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _find_folders(root: Path) -> Path:
    """The folder of the class folders. Raises ``UserError`` without them, or if there are several such folders."""
    root = root.expanduser()
    names = [f"{number:05d}" for number in GTSRB_CLASSES]
    try:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; set root to the folder of GTSRB")
        places = [root / place for place in PLACES if any((root / place / name).is_dir() for name in names)]
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error.strerror}); make it readable") from error
    found = list({place.resolve(): place for place in places}.values())
    if not found:
        raise UserError(
            f"{root}: no class folders 00000 .. 00008 here, in Final_Training/Images or further below; "
            "set root to the folder of GTSRB"
        )
    if len(found) > 1:
        raise UserError(f"{root}: holds class folders in {found[0]} and in {found[1]}; set root to one of them")
    if missing := [name for name in names if not (found[0] / name).is_dir()]:
        raise UserError(f"{found[0]}: no folder {', '.join(missing)}; {REMEDY}")
    return found[0]


def _list_class(folder: Path) -> _Class:
    """The files of a class. Raises ``UserError`` if the folder cannot be listed or holds fewer than three tracks."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); make it readable") from error
    photographs: dict[tuple[int, int], Path] = {}
    table, others = None, []
    for path in paths:
        if path.name.lower() == f"gt-{folder.name}.csv":
            table = path
        elif (name := _NAME.fullmatch(path.name)) is None:
            others.append(Skipped(str(path), "not named TTTTT_FFFFF.ppm (track and frame)"))
        elif (first := photographs.setdefault((int(name[1]), int(name[2])), path)) != path:
            others.append(Skipped(str(path), f"the same frame as {first.name}"))
    tracks = len({track for track, _ in photographs})
    if tracks < FEWEST_TRACKS:
        raise UserError(
            f"{folder}: holds {tracks} tracks of photographs, and roles are split by track, which needs "
            f"{FEWEST_TRACKS} in each class; {REMEDY}"
        )
    return _Class(folder, photographs, table, tuple(others))


def _missing(files: _Class, rois: Mapping[str, Roi], tracks: set[int]) -> Iterator[Skipped]:
    """Photographs of some tracks that the table lists and that are not there."""
    present = {path.name.lower() for path in files.photographs.values()}
    for name in sorted(rois.keys() - present):
        listed = _NAME.fullmatch(name)
        if listed is not None and int(listed[1]) in tracks:
            yield Skipped(str(files.folder / name), f"missing, but GT-{files.folder.name}.csv lists it")


def _sign_side(side: int) -> float:
    """Px of the sign along a side of a photograph whose border is that of GTSRB."""
    return min(side - 2 * LEAST_BORDER, side / (1 + 2 * BORDER))


def _read_photograph(path: Path, rois: Mapping[str, Roi] | None, margin: float) -> np.ndarray:
    """The image ``(3, 32, 32)`` of a photograph. Raises ``OSError`` or ``ValueError`` if it is broken."""
    if not path.is_file():
        raise ValueError("not a regular file")
    with Image.open(path, formats=["PPM"]) as picture:
        if picture.mode != "RGB":
            raise ValueError(f"not a colour photograph, but of mode {picture.mode}")
        if not SIDES[0] <= min(picture.size) <= max(picture.size) <= SIDES[1]:
            raise ValueError(f"{picture.width}x{picture.height} px; photographs of GTSRB have 15 to 250 px")
        pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    if rois is None:
        side = max(_sign_side(width), _sign_side(height)) * (1 + 2 * margin)
        return crop_square(pixels, (width / 2, height / 2), side)
    table = f"GT-{path.parent.name}.csv"
    roi = rois.get(path.name.lower())
    if roi is None:
        raise ValueError(f"{table} does not list it")
    if roi.size != (width, height):
        raise ValueError(f"{width}x{height} px, but {roi.size[0]}x{roi.size[1]} in {table}")
    if not roi.is_inside:
        raise ValueError(f"its sign in {table} is empty or outside the photograph")
    left, upper, right, lower = roi.box
    side = max(right - left, lower - upper) * (1 + 2 * margin)
    return crop_square(pixels, ((left + right) / 2, (upper + lower) / 2), side)
