"""The sha256 of a data set's content: what was seen, however it is stored, chunked, batched or placed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping

import numpy as np

from synthreal.data.encoding import label_array


class ContentHash:
    """Hash of images and labels fed in blocks; the size of the blocks does not change it.

    Images count in their stored dtype, labels in the dtype they have in training
    (:func:`~synthreal.data.encoding.label_array`), so a pack and the resident tensors read from it agree.
    """

    def __init__(self) -> None:
        self._parts: dict[str, hashlib._Hash] = {}

    def add(self, image: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
        """Feed images ``(B, C, H, W)`` in stored dtype and labels ``(B, *L)``."""
        self._feed("image", image)
        for name, values in labels.items():
            self._feed(f"labels/{name}", label_array(values))

    def hexdigest(self) -> str:
        """64 hex digits."""
        whole = hashlib.sha256()
        for name in sorted(self._parts):
            whole.update(f"{name}={self._parts[name].hexdigest()};".encode())
        return whole.hexdigest()

    def _feed(self, name: str, values: np.ndarray) -> None:
        if sys.byteorder == "big":
            values = values.byteswap()
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = hashlib.sha256(f"{values.dtype.name}{values.shape[1:]}".encode())
        part.update(np.ascontiguousarray(values).data)
