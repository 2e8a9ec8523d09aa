"""Reader of UnityEyes renders: pairs of ``<n>.jpg`` and ``<n>.json``.

Format, according to the simulator's source (E. Wood, 2016): every JSON leaf is a string; landmarks are
``"(x, y, z)"`` in screen pixels with **y up from the bottom edge**, so a pixel row is ``H - y``; ``look_vec`` is in
camera axes x right, y up, z forward; ``head_pose`` is ``"(pitch, yaw, roll)"`` in degrees: Unity's Euler angles of the
**camera**, which looks at a fixed face; the face is frontal at pitch 0 / 360 and yaw 180. The inner eye corner is on
the left of the image, as in a left eye of MPIIGaze.

The crop follows common SimGAN practice: a window of 84x140 px at image height 480 (scaled with the height), centred on
the bounding box of ``interior_margin_2d`` and resized to 35x55. The aspect ratio is 1.667 for the window and 1.571 for
the crop, so the crop is slightly anisotropic; landmarks use the same two scales.

The simulator writes pictures in the size of its window. An annotation determines that size (see
:mod:`synthreal_gaze.annotation`), and a picture of another size is refused. This finds every picture whose width or
height was resized by a factor below 0.92 or above 1.08, or cropped by 8 %; it does not find one that was shifted,
mirrored or exchanged without a change of its size. The labels are those of the stored pixels, so a picture whose EXIF
orientation turns or mirrors it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from synthreal import LabelSpec, Options, Sample, Skipped, UserError
from synthreal_gaze.annotation import Annotation, BrokenFile, read_annotation
from synthreal_gaze.geometry import EYE, GAZE, HEAD_POSE, PUPIL
from synthreal_gaze.pairs import Pair, find_pairs
from synthreal_gaze.sensor import equalise

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
SIZE_TOLERANCE = 0.05  # share of the width and of the height
ORIENTATION = 0x0112  # EXIF tag
REMEDY = "repair or delete it, or set skip_broken=true to skip such files"


class UnityEyesOptions(Options):
    """Location of the renders, how to treat broken files, and the grey levels of the crops."""

    root: Path = Field(
        description="Folder with the pairs <n>.jpg / <n>.json, or with a subfolder imgs that contains them."
    )
    skip_broken: bool = Field(
        default=False, description="Skip unpaired and unreadable files and list them, instead of stopping."
    )
    equalize: bool = Field(
        default=False,
        description="Equalise the histogram of each crop; for real images that are equalised, as MPIIGaze's.",
    )


def read_unityeyes(options: UnityEyesOptions) -> Iterator[Sample | Skipped]:
    """Read UnityEyes pairs in numerical order.

    All pairs are checked before the first sample: first the names, then each JSON, its JPG's size and its end (much
    faster than decoding). With ``skip_broken`` each file is checked when it is read.

    Args:
        options: the folder, whether to skip broken files, and whether to equalise the crops.

    Yields:
        :class:`Sample` with a uint8 image ``(1, 35, 55)`` and the labels of :data:`LABELS`, all float32: ``gaze``
        ``(3,)`` unit vector in MPIIGaze axes; ``head_pose`` ``(2,)`` pitch and yaw of the face, rad, 0 = frontal, up
        and image left positive; ``pupil`` ``(1, 2)``, the mean of the iris outline; ``margin`` ``(16, 2)``,
        ``caruncle`` ``(7, 2)`` and ``iris_outline`` ``(32, 2)``; points are (x, y) in px of the crop with pixel
        centres at integers, including points hidden by lids or outside the crop; ``pupil_size`` and ``iris_size``
        ``(1,)`` in the simulator's units. Also a :class:`Skipped` for each copy beside its original, such as
        ``1 (1).jpg``, for each other picture or JSON file with another name, such as ``img1.jpg`` or ``1.png``, and
        with ``skip_broken`` for each skipped file. Hidden files and files with other suffixes are ignored.

    Raises:
        UserError: the folder is missing or contains no pair; a file is unpaired, unreadable, in a derived format, has
            an EXIF orientation or annotates a picture of another size, and ``skip_broken`` is off; or no pair is
            readable.
    """
    folder, pairs, others = find_pairs(options.root)
    if not options.skip_broken:
        _check_all(pairs)
    yield from others
    read, last = 0, None
    for pair in pairs:
        try:
            if isinstance(pair, BrokenFile):
                raise pair
            sample = _read_pair(*pair, options.equalize)
        except BrokenFile as error:
            if not options.skip_broken:
                raise UserError(f"{error}; {REMEDY}") from error
            last = error
            yield Skipped(str(error.path), error.reason)
        else:
            read += 1
            yield sample
    if not read:
        raise UserError(
            f"{folder}: none of the {len(pairs)} pairs is readable; the last one: {last}; "
            "set root to the folder the simulator wrote"
        )


def _check_all(pairs: list[Pair | BrokenFile]) -> None:
    """Raise ``UserError`` with the first problem and the number of all. Decodes no complete picture."""
    problems = [pair for pair in pairs if isinstance(pair, BrokenFile)]
    complete = [pair for pair in pairs if not isinstance(pair, BrokenFile)]
    for annotation_path, picture_path in () if problems else complete:
        try:
            _check_complete(picture_path)
            with _open_picture(picture_path) as picture:
                _check_size(annotation_path, read_annotation(annotation_path), picture_path, picture.size)
        except BrokenFile as error:
            problems.append(error)
    if problems:
        raise UserError(f"{problems[0]} ({len(problems)} broken of {len(pairs)} pairs); {REMEDY}")


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
    with _open_picture(path) as picture:
        picture.draft("L", picture.size)  # decode the luma plane only
        return np.asarray(picture.convert("L"))


@contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    """The picture, whose pixels are decoded on demand. Raises :class:`BrokenFile` then, too."""
    try:
        with Image.open(path, formats=["JPEG"]) as picture:
            if (orientation := picture.getexif().get(ORIENTATION, 1)) != 1:
                raise BrokenFile(path, f"EXIF orientation is {orientation}, not 1, which the simulator's pictures have")
            yield picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenFile(path, f"not readable as JPG ({error})") from error


def _check_size(annotation_path: Path, annotation: Annotation, picture_path: Path, size: tuple[int, int]) -> None:
    """Raise :class:`BrokenFile` unless the annotation is one of a picture of ``size`` (width, height) px."""
    name = f"{picture_path.name} ({size[0]}x{size[1]} px)"
    if not (abs(annotation.size / size - 1) <= SIZE_TOLERANCE).all():
        width, height = annotation.size.round(-1)
        raise BrokenFile(
            annotation_path,
            f"field 'iris_2d' with 'look_vec' is that of a picture of about {width:.0f}x{height:.0f} px, not of "
            f"{name}: if the picture was resized, resize it back or scale the coordinates with it; if not, one of the "
            "two fields is wrong",
        )
    middle = np.array(size) / 2
    centre, window = _window(annotation.margin[:, :2], size[1])
    for field, off, room in (
        ("interior_margin_2d", centre - middle, middle - window / 2),
        ("caruncle_2d", annotation.caruncle[:, :2] - middle, middle),
    ):
        if (abs(off) >= room).any():
            raise BrokenFile(annotation_path, f"field {field!r} lies outside {name} or too close to its edge")


def _window(margin: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre (x, y) and size (width, height), px, of the crop window around the margin in a picture of ``rows`` px."""
    return (margin.min(0) + margin.max(0)) / 2, rows * np.array(WINDOW[::-1])


def _read_pair(annotation_path: Path, picture_path: Path, equalize: bool) -> Sample:
    annotation = read_annotation(annotation_path)
    grey = _read_grey(picture_path)
    rows, columns = grey.shape
    _check_size(annotation_path, annotation, picture_path, (columns, rows))
    margin, caruncle, iris = (
        np.column_stack((points[:, 0], rows - points[:, 1]))
        for points in (annotation.margin, annotation.caruncle, annotation.iris)
    )
    centre, window = _window(margin, rows)
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
    image = _crop(grey, corner, window)
    if equalize:
        image = (equalise(torch.tensor(image)[None] / 255)[0] * 255).round().byte().numpy()
    return Sample(image[None], {name: value.astype(np.float32) for name, value in labels.items()})


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
    """Resize the window at ``corner`` (x, y) of size ``window`` (w, h) to ``(35, 55)`` with antialiasing."""
    left, top, right, bottom = map(float, (*corner, *(corner + window)))
    resized = Image.fromarray(grey).resize(
        (EYE.width, EYE.height), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    return np.asarray(resized)
