"""The check of images and labels against the specs of a pack, before they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from synthreal.data.encoding import first_bad
from synthreal.data.header import Header
from synthreal.errors import UserError


class BlockValidator:
    """Checks blocks of images and labels against one pack's header.

    Attributes:
        label_dtypes: the dtype of each label, fixed by the first block: a ``LabelSpec`` does not name one.
    """

    def __init__(self, header: Header) -> None:
        self.label_dtypes: dict[str, np.dtype[Any]] = {}
        self._header = header

    def check(self, image: np.ndarray, labels: Mapping[str, np.ndarray], first: int) -> None:
        """Raise ``UserError`` for a block that contradicts the specs; ``first`` is the index of its first image."""
        spec, name = self._header.image, f"data set {self._header.name!r}, image"
        where = f"{name} {first}"
        if image.ndim != 4 or image.shape[1:] != spec.shape or image.dtype != np.dtype(spec.dtype):
            size = "x".join(map(str, image.shape[1:]))
            raise UserError(f"{where}: it is {size} {image.dtype}, not {spec}; correct the reader or its ImageSpec")
        if (bad := first_bad(image, unit=True)) is not None:
            raise UserError(
                f"{name} {first + bad}: a pixel is NaN, infinite or outside [0, 1]; remove or repair that image"
            )
        if self._header.role == "real":
            return
        expected = {label.name for label in self._header.labels}
        if set(labels) != expected:
            raise UserError(
                f"{where}: it has labels {sorted(labels)}, not {sorted(expected)}; correct the reader's labels"
            )
        for label in self._header.labels:
            values = labels[label.name]
            if values.shape != (len(image), *label.shape):
                raise UserError(
                    f"{where}: label {label.name!r} has shape {values.shape[1:]}, not {label.shape}; correct the "
                    "reader (a single number is np.array([value])) or its LabelSpec"
                )
            if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
                raise UserError(f"{where}: label {label.name!r} is {values.dtype}; make it bool, integer or float")
            dtype = self.label_dtypes.setdefault(label.name, values.dtype)
            if values.dtype != dtype:
                raise UserError(f"{where}: label {label.name!r} is {values.dtype} here and {dtype} before; use one")
            if (bad := first_bad(values)) is not None:
                raise UserError(
                    f"{name} {first + bad}: label {label.name!r} is NaN or infinite; remove or repair that sample"
                )
