"""The annotation in one UnityEyes JSON file. :mod:`synthreal_gaze.unityeyes` describes the format.

The annotation determines the size of its picture, because the simulator's camera (field of view 45 degrees up and down)
looks at the centre of the eyeball, 10 units away, and the iris is 1.05 units in front of it, in the direction of
``look_vec``. With these numbers, the native annotation at hand gives its 1920x1080 px within 0.1 %.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOCAL = 0.5 / math.tan(math.radians(45 / 2))  # px per px of the picture's height
IRIS = 1.05  # units from the centre of the eyeball to the plane of the iris


class BrokenFile(Exception):
    """A file that cannot be read as a sample; reported to the user as ``Skipped`` or ``UserError``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


@dataclass(frozen=True)
class Annotation:
    """The numbers of one JSON file, in the simulator's axes and units."""

    margin: np.ndarray  # (16, 3) px, y up
    caruncle: np.ndarray  # (7, 3) px, y up
    iris: np.ndarray  # (32, 3) px, y up
    look_vec: np.ndarray  # (3,) x right, y up, z forward
    head: np.ndarray  # (3,) degrees
    pupil_size: float
    iris_size: float

    @property
    def size(self) -> np.ndarray:
        """Width and height, px, of the picture that the simulator wrote with this annotation: ``(2,)``."""
        depth = self.iris[:, 2]
        x, y = self.iris[:, :2].T @ depth / depth.sum()  # the iris's centre, seen in perspective
        offset = FOCAL * IRIS * self.look_vec[:2] / np.linalg.norm(self.look_vec) / depth.mean()  # px per px of height
        height = y / (0.5 + offset[1])
        return np.array((2 * (x - offset[0] * height), height))


def read_annotation(path: Path) -> Annotation:
    """Read one JSON file. Raises :class:`BrokenFile` naming a missing or malformed field."""
    try:
        tree = json.loads(path.read_bytes())  # UTF-8, -16 or -32, with or without a byte-order mark
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenFile(path, f"not readable as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise BrokenFile(path, "not a JSON object")
    if "cameras" in tree or "cam0" in tree:
        raise BrokenFile(path, "field 'cameras' marks a derived format (UnityEyes2), not the simulator's own")
    details = tree.get("eye_details")
    if not isinstance(details, dict):
        raise BrokenFile(path, "field 'eye_details' is missing")
    margin = _read_points(path, tree, "interior_margin_2d", 16)
    upper, lower = margin[1:8, 1].mean(), margin[9:16, 1].mean()
    if upper < lower - 0.05 * np.ptp(margin[:, 0]):
        raise BrokenFile(path, "field 'interior_margin_2d' has y pointing down: a derived format; native y points up")
    iris = _read_points(path, tree, "iris_2d", 32)
    if not (iris[:, 2] > 0).all():
        raise BrokenFile(path, "field 'iris_2d' has a point at depth 0 or behind the camera")
    look_vec = np.array(_parse_numbers(path, "look_vec", details.get("look_vec"), (4, 3))[:3])
    if not np.linalg.norm(look_vec) > 0:
        raise BrokenFile(path, "field 'look_vec' is a zero vector")
    return Annotation(
        margin=margin,
        caruncle=_read_points(path, tree, "caruncle_2d", 7),
        iris=iris,
        look_vec=look_vec,
        head=np.array(_parse_numbers(path, "head_pose", tree.get("head_pose"), (3,))),
        pupil_size=_parse_numbers(path, "pupil_size", details.get("pupil_size"), (1,))[0],
        iris_size=_parse_numbers(path, "iris_size", details.get("iris_size"), (1,))[0],
    )


def _read_points(path: Path, tree: dict[str, Any], key: str, count: int) -> np.ndarray:
    values = tree.get(key)
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} entries" if isinstance(values, list) else "no list"
        raise BrokenFile(path, f"field {key!r} holds {found} where {count} landmarks belong")
    return np.array([_parse_numbers(path, key, value, (3,)) for value in values])


def _parse_numbers(path: Path, key: str, text: object, lengths: tuple[int, ...]) -> list[float]:
    """The numbers in ``"(a, b, c)"`` or ``"a"``; never evaluates the text as code.

    The simulator separates numbers by ", " and writes them as its computer does: ``"(0,5, -1,25, 3,0)"`` has decimal
    commas. A comma without a space separates numbers only if they have points and no other comma has a space.
    """
    if text is None:
        raise BrokenFile(path, f"field {key!r} is missing")
    try:
        if not isinstance(text, str):
            raise ValueError
        inner = text.strip().removeprefix("(").removesuffix(")")
        points = "." in inner
        parts = inner.split(", ") if ", " in inner or not points else inner.split(",")
        numbers = [float(part if points else part.replace(",", ".")) for part in parts]
    except ValueError:
        raise BrokenFile(path, f"field {key!r} is {str(text)[:40]!r}, not numbers in a string") from None
    if len(numbers) not in lengths or not all(abs(number) < 1e9 for number in numbers):
        raise BrokenFile(path, f"field {key!r} is {text[:40]!r} where {lengths[0]} finite number(s) belong")
    return numbers
