"""One UnityEyes JSON file as numbers, checked field by field; the format is told in :mod:`synthreal_gaze.unityeyes`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


class Broken(Exception):
    """A file that cannot become a sample, and why; told to the user as ``Skipped`` or ``UserError``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


@dataclass(frozen=True)
class Annotation:
    """One JSON file as numbers, still in the simulator's own axes and units."""

    margin: np.ndarray  # (16, 3) px, y up
    caruncle: np.ndarray  # (7, 3) px, y up
    iris: np.ndarray  # (32, 3) px, y up
    look: np.ndarray  # (3,) x right, y up, z forward
    head: np.ndarray  # (3,) degrees
    pupil_size: float
    iris_size: float


def read_annotation(path: Path) -> Annotation:
    """Read one JSON file. Raises :class:`Broken` naming the field that is missing, misshapen or derived."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Broken(path, f"not readable as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise Broken(path, "not a JSON object")
    if "cameras" in tree or "cam0" in tree:
        raise Broken(path, "field 'cameras' marks a derived format (UnityEyes2), not the simulator's own")
    details = tree.get("eye_details")
    if not isinstance(details, dict):
        raise Broken(path, "field 'eye_details' is missing")
    margin = _points(path, tree, "interior_margin_2d", 16)
    upper, lower = margin[1:8, 1].mean(), margin[9:16, 1].mean()
    if upper < lower - 0.05 * np.ptp(margin[:, 0]):
        raise Broken(path, "field 'interior_margin_2d' has y pointing down: a derived format; native y points up")
    look = np.array(_numbers(path, "look_vec", details.get("look_vec"), (4, 3))[:3])
    if not np.linalg.norm(look) > 0:
        raise Broken(path, "field 'look_vec' is a zero vector")
    return Annotation(
        margin=margin,
        caruncle=_points(path, tree, "caruncle_2d", 7),
        iris=_points(path, tree, "iris_2d", 32),
        look=look,
        head=np.array(_numbers(path, "head_pose", tree.get("head_pose"), (3,))),
        pupil_size=_numbers(path, "pupil_size", details.get("pupil_size"), (1,))[0],
        iris_size=_numbers(path, "iris_size", details.get("iris_size"), (1,))[0],
    )


def _points(path: Path, tree: dict[str, Any], key: str, count: int) -> np.ndarray:
    values = tree.get(key)
    if not isinstance(values, list) or len(values) != count:
        found = f"{len(values)} entries" if isinstance(values, list) else "no list"
        raise Broken(path, f"field {key!r} holds {found} where {count} landmarks belong")
    return np.array([_numbers(path, key, value, (3,)) for value in values])


def _numbers(path: Path, key: str, text: object, lengths: tuple[int, ...]) -> list[float]:
    """Numbers of ``"(a, b, c)"`` or ``"a"``; anything else is told, nothing is evaluated."""
    if text is None:
        raise Broken(path, f"field {key!r} is missing")
    try:
        if not isinstance(text, str):
            raise ValueError
        numbers = [float(part) for part in text.strip().removeprefix("(").removesuffix(")").split(",")]
    except ValueError:
        raise Broken(path, f"field {key!r} is {str(text)[:40]!r}, not numbers in a string") from None
    if len(numbers) not in lengths or not all(map(math.isfinite, numbers)):
        raise Broken(path, f"field {key!r} is {text[:40]!r} where {lengths[0]} finite number(s) belong")
    return numbers
