"""The ranges of labels: those of a pack, and the numbers in JSON files beside pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class LabelRange:
    """One label of a set.

    Attributes:
        images: number of images that have it.
        shape: its shape; None if it differs between images.
        unit: its unit; empty if none is known.
        low: the smallest finite value of all images and elements; None without any.
        high: the largest.
        constant: whether several images have it, and all the same.
        not_finite: number of images with a value that is NaN or infinite.
    """

    images: int
    shape: tuple[int, ...] | None
    unit: str
    low: float | None
    high: float | None
    constant: bool
    not_finite: int


class LabelRanges:
    """Collects the range of every label in ``found``, a block of images at a time."""

    def __init__(self, units: Mapping[str, str] | None = None) -> None:
        self._units = units or {}
        self._first: dict[str, np.ndarray] = {}
        self.found: dict[str, LabelRange] = {}

    def add(self, name: str, values: np.ndarray) -> None:
        """Add a label ``(B, *L)`` of B >= 1 images, numbers of any dtype."""
        first, old = self._first.setdefault(name, values[0]), self.found.get(name)
        finite = np.isfinite(values)
        bounds = [float(bound) for good in [values[finite]] if good.size for bound in (good.min(), good.max())]
        bounds += [bound for bound in ((old.low, old.high) if old else ()) if bound is not None]
        shape = values.shape[1:]
        images = len(values) + (old.images if old else 0)
        constant = (old is None or old.constant or old.images == 1) and shape == first.shape
        self.found[name] = LabelRange(
            images=images,
            shape=shape if old is None or old.shape == shape else None,
            unit=self._units.get(name, ""),
            low=min(bounds, default=None),
            high=max(bounds, default=None),
            constant=images > 1 and constant and bool((values == first).all()),
            not_finite=int((~finite).reshape(len(values), -1).any(1).sum()) + (old.not_finite if old else 0),
        )


def numeric_fields(content: bytes) -> dict[str, np.ndarray]:
    """The numbers, and lists of numbers of any depth, in a JSON object; names of nested objects are joined by dots.

    Texts, truth values, lists of objects and lists of unequal lengths are no labels. Raises ``ValueError`` for what is
    not JSON.
    """
    try:
        tree = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    fields: dict[str, np.ndarray] = {}
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending += [(f"{name}.{key}" if name else key, inner) for key, inner in reversed(value.items())]
        elif name and (array := _numbers(value)) is not None:
            fields[name] = array
    return fields


def _numbers(value: Any) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return None
    return array if array.dtype.kind in "iuf" and array.size else None
