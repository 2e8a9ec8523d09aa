"""Reader of UnityEyes renders: pairs of ``<n>.jpg`` and ``<n>.json``.

Format, according to the simulator's source (E. Wood, 2016): every JSON leaf is a string; landmarks are
``"(x, y, z)"`` in screen pixels with **y up from the bottom edge**, so a pixel row is ``H - y``; ``look_vec`` is in
camera axes x right, y up, z forward; ``head_pose`` is ``"(pitch, yaw, roll)"`` in degrees: Unity's Euler angles of the
**camera**, which looks at a fixed face; the face is frontal at pitch 0 / 360 and yaw 180. The inner eye corner is on
the left of the image, as in a left eye of MPIIGaze.

The crop follows common SimGAN practice: a window of 84x140 px at image height 480 (scaled with the height), centred on
the bounding box of ``interior_margin_2d`` and resized to 35x55. The aspect ratio is 1.667 for the window and 1.571 for
the crop, so the crop is slightly anisotropic; landmarks use the same two scales.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from synthreal import LabelSpec, Options, Sample, Skipped, UserError
from synthreal_gaze.annotation import BrokenFile, read_annotation
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
WINDOW = (84 / 480, 140 / 480)  # height and width of the crop window, in image heights
REMEDY = "repair or delete it, or set skip_broken=true to skip such files"


class UnityEyesOptions(Options):
    """Location of the renders, and how to treat broken files."""

    root: Path = Field(
        description="Folder with the pairs <n>.jpg / <n>.json, or with a subfolder imgs that contains them."
    )
    skip_broken: bool = Field(
        default=False, description="Skip unpaired and unreadable files and list them, instead of stopping."
    )


def read_unityeyes(options: UnityEyesOptions) -> Iterator[Sample | Skipped]:
    """Read UnityEyes pairs in numerical order.

    All pairs are checked before the first sample: first the names, then each JSON and the end of each JPG (about 0.4 ms
    per pair, much less than decoding). With ``skip_broken`` each file is checked when it is read.

    Args:
        options: the folder, and whether to skip broken files.

    Yields:
        :class:`Sample` with a uint8 image ``(1, 35, 55)`` and the labels of :data:`LABELS`, all float32: ``gaze``
        ``(3,)`` unit vector in MPIIGaze axes; ``head_pose`` ``(2,)`` pitch and yaw of the face, rad, 0 = frontal, up
        and image left positive; ``pupil`` ``(1, 2)``, the mean of the iris outline; ``margin`` ``(16, 2)``,
        ``caruncle`` ``(7, 2)`` and ``iris_outline`` ``(32, 2)``; points are (x, y) in px of the crop with pixel
        centres at integers, including points hidden by lids or outside the crop; ``pupil_size`` and ``iris_size``
        ``(1,)`` in the simulator's units. With ``skip_broken`` also a :class:`Skipped` for each skipped file.

    Raises:
        UserError: the folder is missing or contains no pair; a file is unpaired, unreadable or in a derived format and
            ``skip_broken`` is off; or no pair is readable.
    """
    folder, stems, unpaired = _find_pairs(options.root)
    if not options.skip_broken:
        _check_all(folder, stems, unpaired)
    skipped = 0
    for stem in sorted([*stems, *unpaired], key=_sort_key):
        try:
            if stem in unpaired:
                raise BrokenFile(unpaired[stem], "has no partner")
            yield _read_pair(folder / f"{stem}.json", folder / f"{stem}.jpg")
        except BrokenFile as broken:
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


def _sort_key(stem: str) -> tuple[int, str]:
    return int(stem), stem


def _find_pairs(root: Path) -> tuple[Path, list[str], dict[str, Path]]:
    """The folder of the pairs, the stems of complete pairs, and the single file of each other stem."""
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
        found = f"; {_describe_unpaired(lone)}" if lone else ""
        raise UserError(
            f"{folder}: no UnityEyes pair <n>.jpg / <n>.json in it{found}; set root to the folder the simulator wrote"
        )
    return folder, sorted(pictures & annotations, key=_sort_key), lone


def _describe_unpaired(lone: dict[str, Path]) -> str:
    """A message about the first unpaired file and the number of all."""
    path = lone[min(lone, key=_sort_key)]
    other = path.with_suffix(".json" if path.suffix == ".jpg" else ".jpg").name
    return f"{path} has no {other} beside it ({len(lone)} unpaired in all)"


def _check_all(folder: Path, stems: list[str], unpaired: dict[str, Path]) -> None:
    """Raise ``UserError`` with the first problem and the number of all. Decodes no complete picture."""
    if unpaired:
        raise UserError(f"{_describe_unpaired(unpaired)}; {REMEDY}")
    problems = []
    for stem in stems:
        try:
            read_annotation(folder / f"{stem}.json")
            _check_complete(folder / f"{stem}.jpg")
        except BrokenFile as broken:
            problems.append(broken)
    if problems:
        raise UserError(f"{problems[0]} ({len(problems)} broken of {len(stems)} pairs); {REMEDY}")


def _check_complete(path: Path) -> None:
    """Accept a JPG that ends in an end-of-image marker; decode any other."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, 2) - 2, 0))
            whole = file.read() == b"\xff\xd9"
    except OSError as error:
        raise BrokenFile(path, f"not readable as JPG ({error})") from error
    if not whole:
        _read_grey(path)


def _read_grey(path: Path) -> np.ndarray:
    """The luminance of a picture, ``(H, W)`` uint8."""
    try:
        with Image.open(path) as picture:
            picture.draft("L", picture.size)  # decode the luma plane only
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenFile(path, f"not readable as JPG ({error})") from error


def _read_pair(annotation_path: Path, picture_path: Path) -> Sample:
    annotation = read_annotation(annotation_path)
    grey = _read_grey(picture_path)
    rows, columns = grey.shape
    margin, caruncle, iris = (
        np.column_stack((points[:, 0], rows - points[:, 1]))
        for points in (annotation.margin, annotation.caruncle, annotation.iris)
    )
    centre = (margin.min(0) + margin.max(0)) / 2
    if not (0 <= centre[0] <= columns and 0 <= centre[1] <= rows):
        size = f"{columns}x{rows}"
        raise BrokenFile(annotation_path, f"field 'interior_margin_2d' lies outside {picture_path.name} ({size} px)")
    window = rows * np.array(WINDOW[::-1])  # width, height in source pixels
    corner = centre - window / 2
    scale = np.array((EYE.width, EYE.height)) / window
    gaze = annotation.look_vec * (1.0, -1.0, 1.0) / np.linalg.norm(annotation.look_vec)
    labels = {
        "gaze": gaze,
        "head_pose": head_angles(*np.radians(annotation.head[:2])),
        # Subtract 0.5: the source has pixel edges at integers, labels have pixel centres there.
        "pupil": ((iris.mean(0, keepdims=True) - corner) * scale - 0.5),
        "margin": (margin - corner) * scale - 0.5,
        "caruncle": (caruncle - corner) * scale - 0.5,
        "iris_outline": (iris - corner) * scale - 0.5,
        "pupil_size": np.array((annotation.pupil_size,)),
        "iris_size": np.array((annotation.iris_size,)),
    }
    image = _crop(grey, corner, window)[None]
    return Sample(image, {name: value.astype(np.float32) for name, value in labels.items()})


def head_angles(pitch: float, yaw: float) -> np.ndarray:
    """Pitch and yaw of the face in MPIIGaze's convention, from Unity's Euler angles of the camera.

    Unity rotates a camera about x, then about y; the face looks along +z of the world. Seen from the camera (x right,
    y up, z forward) that is ``(-sin yaw, cos yaw sin pitch, cos yaw cos pitch)``.

    Args:
        pitch: rad, positive when the camera looks down.
        yaw: rad, pi when the camera looks straight at the face.

    Returns:
        ``(2,)`` rad, positive when the face looks up and to the left of the image.
    """
    right, up, ahead = -np.sin(yaw), np.cos(yaw) * np.sin(pitch), np.cos(yaw) * np.cos(pitch)
    return np.array((np.arcsin(up), np.arctan2(-right, -ahead)))


def _crop(grey: np.ndarray, corner: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Resize the window at ``corner`` (x, y) of size ``window`` (w, h) to ``(35, 55)`` with antialiasing.

    Outside the picture, edge pixels are replicated.
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
