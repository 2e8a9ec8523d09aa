"""Reader of UnityEyes renders: pairs ``<n>.jpg`` / ``<n>.json`` as the simulator writes them.

Format, after the simulator's source (E. Wood, 2016): the JSON holds every leaf as a string; landmarks are
``"(x, y, z)"`` in screen pixels with **y up from the bottom edge**, so a pixel row is ``H - y``; ``look_vec`` is in
camera axes x right, y up, z forward; ``head_pose`` is ``"(pitch, yaw, roll)"`` in degrees: Unity's Euler angles of the
**camera** that looks at a fixed face, frontal at pitch 0 / 360 and yaw 180. The inner eye corner lies at the image's
left, as in an MPIIGaze left eye.

The crop follows common SimGAN practice: a window of 84x140 px at image height 480 (it scales with the height),
centred on the bounding box of ``interior_margin_2d``, resized to 35x55. The window's aspect is 1.667 and the crop's
1.571, so the crop is slightly anisotropic; landmarks are mapped by the same two scales.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from synthreal import LabelSpec, Options, Sample, Skipped, UserError
from synthreal_gaze.annotation import Broken, read_annotation
from synthreal_gaze.geometry import EYE, GAZE, HEAD_POSE, PUPIL

LABELS = (
    GAZE,
    HEAD_POSE,
    PUPIL,
    LabelSpec("margin", (16, 2), "px"),
    LabelSpec("caruncle", (7, 2), "px"),
    LabelSpec("iris_outline", (32, 2), "px"),
    LabelSpec("pupil_size", (1,), "simulator setting"),
    LabelSpec("iris_size", (1,), "simulator setting"),
)
WINDOW = (84 / 480, 140 / 480)  # height and width of the crop window in units of the image height
REMEDY = "repair or delete it, or set skip_broken=true to leave such files out"


class UnityEyesOptions(Options):
    """Where the renders are and what to do about broken ones."""

    root: Path = Field(description="Folder with the pairs <n>.jpg / <n>.json, or the folder whose imgs/ holds them.")
    skip_broken: bool = Field(
        default=False, description="Leave out unpaired and unreadable files, listed and counted, instead of stopping."
    )


def unityeyes(options: UnityEyesOptions) -> Iterator[Sample | Skipped]:
    """Read UnityEyes pairs in numerical order.

    Nothing is yielded before every pair has been checked: names first, then each JSON in full and the end of each
    JPG (about 0.4 ms a pair, a small part of decoding it). With ``skip_broken`` files are judged one by one.

    Args:
        options: the folder, and whether broken files stop the reading.

    Yields:
        :class:`Sample` with a uint8 image ``(1, 35, 55)`` and the labels of :data:`LABELS`, all float32: ``gaze``
        ``(3,)`` unit vector in MPIIGaze axes; ``head_pose`` ``(2,)`` pitch and yaw of the face, rad, 0 = frontal, up
        and image left positive; ``pupil`` ``(1, 2)``, the mean of the iris outline; ``margin`` ``(16, 2)``,
        ``caruncle`` ``(7, 2)`` and ``iris_outline`` ``(32, 2)``; all points as x, y in pixels of the crop, pixel
        centres at integers, parts hidden by lids or outside the crop included; ``pupil_size`` and ``iris_size``
        ``(1,)`` as the simulator states them. With ``skip_broken`` also a :class:`Skipped` for each file left out.

    Raises:
        UserError: the folder is missing or holds no pair; a file is unpaired, unreadable or in a derived format and
            ``skip_broken`` is off; or not a single pair is readable.
    """
    folder, stems, unpaired = _pairs(options.root)
    if not options.skip_broken:
        _check_all(folder, stems, unpaired)
    skipped = 0
    for stem in sorted([*stems, *unpaired], key=_number):
        try:
            if stem in unpaired:
                raise Broken(unpaired[stem], "has no partner")
            yield _read(folder / f"{stem}.json", folder / f"{stem}.jpg")
        except Broken as broken:
            if not options.skip_broken:
                raise UserError(f"{broken}; {REMEDY}") from broken
            skipped += 1
            yield Skipped(str(broken.path), broken.reason)
            last = broken
    if skipped == len(stems) + len(unpaired):
        raise UserError(
            f"{folder}: none of the {len(stems)} pairs is readable; the last one: {last}; "
            "set root to the folder the simulator wrote"
        )


def _number(stem: str) -> tuple[int, str]:
    return int(stem), stem


def _pairs(root: Path) -> tuple[Path, list[str], dict[str, Path]]:
    """The folder that holds the pairs, the stems that are paired, and the lone file of each stem that is not."""
    root = root.expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set root to the folder of UnityEyes pairs <n>.jpg / <n>.json")
    folder = root / "imgs" if (root / "imgs").is_dir() else root
    try:
        files = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror}); make the folder of root readable") from error
    names = [match for name in files if (match := re.fullmatch(r"(\d+)\.(jpg|json)", name))]
    pictures = {match[1] for match in names if match[2] == "jpg"}
    annotations = {match[1] for match in names if match[2] == "json"}
    lone = {stem: folder / f"{stem}.jpg" for stem in pictures - annotations}
    lone |= {stem: folder / f"{stem}.json" for stem in annotations - pictures}
    if not pictures & annotations:
        found = f"; {_unpaired(lone)}" if lone else ""
        raise UserError(
            f"{folder}: no UnityEyes pair <n>.jpg / <n>.json in it{found}; set root to the folder the simulator wrote"
        )
    return folder, sorted(pictures & annotations, key=_number), lone


def _unpaired(lone: dict[str, Path]) -> str:
    """What the first lone file lacks, and how many there are."""
    path = lone[min(lone, key=_number)]
    other = path.with_suffix(".json" if path.suffix == ".jpg" else ".jpg").name
    return f"{path} has no {other} beside it ({len(lone)} unpaired in all)"


def _check_all(folder: Path, stems: list[str], unpaired: dict[str, Path]) -> None:
    """Raise one UserError for the first problem and the number of all; decode no picture."""
    if unpaired:
        raise UserError(f"{_unpaired(unpaired)}; {REMEDY}")
    problems = []
    for stem in stems:
        try:
            read_annotation(folder / f"{stem}.json")
            _check_end(folder / f"{stem}.jpg")
        except Broken as broken:
            problems.append(broken)
    if problems:
        raise UserError(f"{problems[0]} ({len(problems)} broken of {len(stems)} pairs); {REMEDY}")


def _check_end(path: Path) -> None:
    """A JPG that ends in its end-of-image marker is whole; one that does not is decoded to make sure."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - 2, 0))
            whole = file.read() == b"\xff\xd9"
    except OSError as error:
        raise Broken(path, f"not readable as JPG ({error})") from error
    if not whole:
        _grey(path)


def _grey(path: Path) -> np.ndarray:
    """The picture's luminance ``(H, W)`` uint8."""
    try:
        with Image.open(path) as picture:
            picture.draft("L", picture.size)  # decode the luma plane only
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Broken(path, f"not readable as JPG ({error})") from error


def _read(annotation_path: Path, picture_path: Path) -> Sample:
    notes = read_annotation(annotation_path)
    grey = _grey(picture_path)
    rows, columns = grey.shape
    margin, caruncle, iris = (
        np.column_stack((points[:, 0], rows - points[:, 1])) for points in (notes.margin, notes.caruncle, notes.iris)
    )
    centre = (margin.min(0) + margin.max(0)) / 2
    if not (0 <= centre[0] <= columns and 0 <= centre[1] <= rows):
        size = f"{columns}x{rows}"
        raise Broken(annotation_path, f"field 'interior_margin_2d' lies outside {picture_path.name} ({size} px)")
    window = rows * np.array(WINDOW[::-1])  # width, height in source pixels
    corner = centre - window / 2
    scale = np.array((EYE.width, EYE.height)) / window
    gaze = notes.look * (1.0, -1.0, 1.0) / np.linalg.norm(notes.look)
    labels = {
        "gaze": gaze,
        "head_pose": head_angles(*np.radians(notes.head[:2])),
        # Source coordinates have pixel edges at integers, labels have pixel centres there: hence the half.
        "pupil": ((iris.mean(0, keepdims=True) - corner) * scale - 0.5),
        "margin": (margin - corner) * scale - 0.5,
        "caruncle": (caruncle - corner) * scale - 0.5,
        "iris_outline": (iris - corner) * scale - 0.5,
        "pupil_size": np.array((notes.pupil_size,)),
        "iris_size": np.array((notes.iris_size,)),
    }
    image = _crop(grey, corner, window)[None]
    return Sample(image, {name: value.astype(np.float32) for name, value in labels.items()})


def head_angles(pitch: float, yaw: float) -> np.ndarray:
    """Pitch and yaw of the face in MPIIGaze's sense, from the camera's Unity Euler angles.

    Unity turns a camera about x, then about y; the face looks along the world's +z. Seen from the camera (x right,
    y up, z forward) that is ``(-sin yaw, cos yaw sin pitch, cos yaw cos pitch)``.

    Args:
        pitch: rad, positive when the camera looks down.
        yaw: rad, pi when it looks straight at the face.

    Returns:
        ``(2,)`` rad, positive when the face looks up and to the image's left.
    """
    right, up, ahead = -np.sin(yaw), np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)
    return np.array((np.arcsin(up), np.arctan2(-right, -ahead)))


def _crop(grey: np.ndarray, corner: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Resize the window at ``corner`` (x, y) of size ``window`` (w, h) to ``(35, 55)``, antialiased.

    Where the window leaves the picture, the picture's edge pixels are repeated.
    """
    rows, columns = grey.shape
    before = np.maximum(np.floor(-corner) + 1, 0).astype(int)
    after = np.maximum(np.floor(corner + window - (columns, rows)) + 1, 0).astype(int)
    if before.any() or after.any():
        grey = np.pad(grey, ((before[1], after[1]), (before[0], after[0])), mode="edge")
    left, top, right, bottom = map(float, (*(corner + before), *(corner + window + before)))
    resized = Image.fromarray(grey).resize(
        (EYE.width, EYE.height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.asarray(resized)
