"""The annotation in one UnityEyes JSON file. :mod:`synthreal_gaze.unityeyes` describes the format."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


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


def read_annotation(path: Path) -> Annotation:
    """Read one JSON file. Raises :class:`BrokenFile` naming a missing or malformed field."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
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
    look_vec = np.array(_parse_numbers(path, "look_vec", details.get("look_vec"), (4, 3))[:3])
    if not np.linalg.norm(look_vec) > 0:
        raise BrokenFile(path, "field 'look_vec' is a zero vector")
    return Annotation(
        margin=margin,
        caruncle=_read_points(path, tree, "caruncle_2d", 7),
        iris=_read_points(path, tree, "iris_2d", 32),
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
    """The numbers in ``"(a, b, c)"`` or ``"a"``; never evaluates the text as code."""
    if text is None:
        raise BrokenFile(path, f"field {key!r} is missing")
    try:
        if not isinstance(text, str):
            raise ValueError
        numbers = [float(part) for part in text.strip().removeprefix("(").removesuffix(")").split(",")]
    except ValueError:
        raise BrokenFile(path, f"field {key!r} is {str(text)[:40]!r}, not numbers in a string") from None
    if len(numbers) not in lengths or not all(map(math.isfinite, numbers)):
        raise BrokenFile(path, f"field {key!r} is {text[:40]!r} where {lengths[0]} finite number(s) belong")
    return numbers
