"""The sha256 of a data set's content, independent of how it is stored, chunked or placed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping

import numpy as np

from synthreal.data.encoding import label_array


class ContentHash:
    """A hash of images and labels added in blocks of any size.

    Images are hashed in their stored dtype, labels in their dtype on a device
    (:func:`~synthreal.data.encoding.label_array`), so a pack and the resident tensors read from it have the same hash.
    """

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}

    def add(self, image: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """Add images ``(B, C, H, W)`` in stored dtype and labels ``(B, *L)``."""
        self._update("image", image)
        for name, values in labels.items():
            self._update(f"labels/{name}", label_array(values))

    def hexdigest(self) -> str:
        """64 hex digits."""
        total = hashlib.sha256()
        for name in sorted(self._parts):
            total.update(f"{name}={self._parts[name].hexdigest()};".encode())
        return total.hexdigest()

    def _update(self, name: str, values: np.ndarray) -> None:
        if sys.byteorder == "big":
            values = values.byteswap()
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = hashlib.sha256(f"{values.dtype.name}{values.shape[1:]}".encode())
        part.update(np.ascontiguousarray(values).data)
