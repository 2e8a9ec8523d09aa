"""Reader of MPIIGaze's normalized eye patches (``pNN/dayMM.mat``), split by person.

Format, according to the readme of the data set: each file holds ``data.left`` and ``data.right`` with ``gaze`` (N, 3)
unit vectors from the eye to the target in the normalized camera frame, ``image`` (N, 36, 60) uint8 and ``pose`` (N, 3)
head rotations as Rodrigues vectors. Head angles: Z is the third column of the rotation, ``pitch = asin(Z_y)`` and
``yaw = atan2(Z_x, Z_z)``. A right eye becomes a left one by mirroring the patch and negating both yaws.

The data set's authors equalised the histogram of each patch. Equalising it again changes a grey level by 0.1 of 255 on
average (90 patches), so there is no option for it; simulated images match with their option ``equalize``.

By default, roles use disjoint people: p00-p08 for training (``real`` without labels, and ``real_labelled`` for the
upper bound, which is only meaningful on the images that the refiner saw), p09 and p10 for validation, p11-p14 for the
test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, field_validator

from synthreal import LabelSpec, Options, Sample, Skipped, UserError
from synthreal.data import read_matlab
from synthreal_gaze.geometry import EYE, GAZE, HEAD_POSE, RealRole

LABELS = (GAZE, HEAD_POSE, LabelSpec("person", (1,), "number 0..14"))
PERSONS: dict[RealRole, tuple[int, ...]] = {
    "real": tuple(range(9)),
    "real_labelled": tuple(range(9)),
    "validation": (9, 10),
    "test": (11, 12, 13, 14),
}
FIELDS = {"gaze": (3,), "image": (36, 60), "pose": (3,)}


class MPIIGazeOptions(Options):
    """Location of the data set and the part to read."""

    root: Path = Field(description="Folder that contains p00 to p14, or MPIIGaze's top folder with Data/Normalized.")
    persons: tuple[int, ...] | None = Field(
        default=None,
        description="Persons to read, 0 to 14. The default depends on the role: real and real_labelled 0-8,"
        " validation 9-10, test 11-14. If you set it, choose disjoint persons for the roles.",
    )
    eyes: Literal["both", "left", "right"] = Field(default="both", description="Eyes to read; right eyes are mirrored.")

    @field_validator("persons")
    @classmethod
    def _known(cls, persons: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if persons is not None and (
            not persons or len(set(persons)) < len(persons) or not set(persons) <= {*range(15)}
        ):
            raise ValueError("give one or more different persons out of 0..14")
        return persons


def read_mpiigaze(options: MPIIGazeOptions, role: RealRole) -> Iterator[Sample | Skipped]:
    """Read normalized eye patches in the order of persons and days, left eyes before right eyes.

    Args:
        options: folder, persons and eyes.
        role: determines the default persons; images of role ``real`` have no labels.

    Yields:
        :class:`Sample` with a uint8 image ``(1, 35, 55)`` (the 36x60 patch, resized with antialiasing) and, except
        for ``real``, the labels ``gaze`` ``(3,)`` float32 unit vector, ``head_pose`` ``(2,)`` float32 pitch and yaw in
        rad, ``person`` ``(1,)`` int64. Only files named ``dayNN.mat``, in any case, are read; a :class:`Skipped`
        names each other MATLAB file, such as ``day01 (1).mat`` or ``day2.mat``. Hidden files are ignored.

    Raises:
        UserError: a folder or a day file is missing (a copy alone is not read) or there twice, as ``day01.mat`` and
            ``Day01.mat``, or a file is not a MATLAB file with the layout above.
    """
    days, others = _find_days(options.root, options.persons or PERSONS[role])
    yield from others
    for path in days:
        sides: tuple[Literal["left", "right"], ...] = ("left", "right") if options.eyes == "both" else (options.eyes,)
        day = _read_day(path, sides)
        for side in sides:
            yield from _make_samples(day[side], mirrored=side == "right", person=int(path.parent.name[1:]), role=role)


def _find_days(root: Path, persons: tuple[int, ...]) -> tuple[list[Path], list[Skipped]]:
    """The day files of the persons in order, and other files. Raises ``UserError`` if a person or a day has none."""
    root = root.expanduser()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set root to MPIIGaze's folder or to its Data/Normalized")
    places = (root, root / "Normalized", root / "Data" / "Normalized")
    folder = next((place for place in places if any(place.glob("[pP][0-9][0-9]"))), None)
    if folder is None:
        raise UserError(
            f"{root}: no person folders p00 .. p14 here or in Data/Normalized; set root to MPIIGaze's folder"
        )
    days: list[Path] = []
    others, missing = [], []
    for person in persons:
        proper: dict[str, Path] = {}
        unknown = []
        for path in sorted(folder.glob(f"[pP]{person:02d}/[!.]*.[mM][aA][tT]")):
            name = path.name.lower()
            if not re.fullmatch(r"day\d\d\.mat", name):
                unknown.append(path)
            elif proper.setdefault(name, path) != path:
                raise UserError(f"{path}: holds the same day as {proper[name]}; delete one of them")
        if not proper:
            missing.append(f"p{person:02d}")
        days += [proper[name] for name in sorted(proper)]
        for path in unknown:
            day = re.search(r"day\d\d(?!\d)", path.name.lower())
            if day is None:
                others.append(Skipped(str(path), "not named dayNN.mat"))
            elif original := proper.get(f"{day[0]}.mat"):
                others.append(Skipped(str(path), f"looks like a copy of {original.name}"))
            else:
                raise UserError(f"{path}: looks like a copy of {day[0]}.mat, which is missing; rename or delete it")
    if missing:
        raise UserError(
            f"{folder}: no dayNN.mat for {', '.join(missing)}; restore these folders or set persons to those you have"
        )
    return days, others


def _read_day(path: Path, sides: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays ``{side: {gaze (N, 3), image (N, 36, 60), pose (N, 3)}}`` of one day."""
    remedy = "restore it from MPIIGaze's Data/Normalized"
    content = read_matlab(path, [f"data.{side}.{name}" for side in sides for name in FIELDS], remedy=remedy)
    day: dict[str, dict[str, np.ndarray]] = {}
    for side in sides:
        day[side] = {}
        for name, shape in FIELDS.items():
            values = content[f"data.{side}.{name}"]
            if values.shape == shape:  # a day with one sample, saved from squeezed arrays
                values = values[None]
            if name == "image":
                proper = values.dtype == np.uint8
            else:
                proper = values.dtype.kind in "fiu" and bool((abs(values.astype(np.float64)) < 10).all())
            if not proper or values.shape[1:] != shape:
                kind = "uint8 patches of 36x60" if name == "image" else "numbers within -10 and 10, three a sample"
                raise UserError(f"{path}: field data.{side}.{name} does not hold {kind}; {remedy}")
            day[side][name] = values
        counts = {name: len(values) for name, values in day[side].items()}
        if len(set(counts.values())) > 1:
            raise UserError(f"{path}: fields of data.{side} hold unequal numbers of samples {counts}; {remedy}")
        if not (np.linalg.norm(day[side]["gaze"], axis=1) > 0).all():
            raise UserError(f"{path}: field data.{side}.gaze holds a vector of length 0; {remedy}")
    return day


def _make_samples(eye: dict[str, np.ndarray], mirrored: bool, person: int, role: RealRole) -> Iterator[Sample]:
    gaze, head = eye["gaze"].astype(np.float64), head_angles(eye["pose"])
    images = eye["image"]
    if mirrored:
        images, gaze, head = images[:, :, ::-1], gaze * (-1.0, 1.0, 1.0), head * (1.0, -1.0)
    gaze = (gaze / np.linalg.norm(gaze, axis=1, keepdims=True)).astype(np.float32)
    for index, image in enumerate(images):
        patch = Image.fromarray(np.ascontiguousarray(image))
        small = np.asarray(patch.resize((EYE.width, EYE.height), Image.Resampling.BICUBIC))[None]
        labels = {"gaze": gaze[index], "head_pose": head[index].astype(np.float32), "person": np.array([person])}
        yield Sample(small, {} if role == "real" else labels)


def head_angles(pose: np.ndarray) -> np.ndarray:
    """Head pitch and yaw from Rodrigues vectors.

    Args:
        pose: ``(N, 3)`` rotation vectors: axis times angle in rad.

    Returns:
        ``(N, 2)`` rad: ``asin(Z_y)`` and ``atan2(Z_x, Z_z)``, Z the third column of the rotation matrix.
    """
    angle = np.linalg.norm(pose, axis=1, keepdims=True)
    x, y, z = (pose / np.where(angle > 0, angle, 1.0)).T
    cos, sin = np.cos(angle[:, 0]), np.sin(angle[:, 0])
    # Rodrigues' formula applied to (0, 0, 1).
    third_x, third_y, third_z = (1 - cos) * z * x + sin * y, (1 - cos) * z * y - sin * x, cos + (1 - cos) * z * z
    return np.stack((np.arcsin(np.clip(third_y, -1, 1)), np.arctan2(third_x, third_z)), axis=1)
