"""The sha256 of a data set's content, independent of how it is stored, chunked or placed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from synthreal.data.encoding import label_array


def content_sha256(blocks: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> str:
    """64 hex digits for images ``(B, C, H, W)`` and labels ``(B, *L)`` in blocks of any size.

    Images are hashed in their stored dtype, labels in their dtype on a device
    (:func:`~synthreal.data.encoding.label_array`), so a pack and the resident tensors read from it have the same hash.
    """
    parts: dict[str, hashlib._Hash] = {}
    for image, labels in blocks:
        arrays = {"image": image, **{f"labels/{name}": label_array(values) for name, values in labels.items()}}
        for name, values in arrays.items():
            if name not in parts:
                parts[name] = hashlib.sha256(f"{values.dtype.name}{values.shape[1:]}".encode())
            parts[name].update(np.ascontiguousarray(values.byteswap() if sys.byteorder == "big" else values).data)
    total = "".join(f"{name}={parts[name].hexdigest()};" for name in sorted(parts))
    return hashlib.sha256(total.encode()).hexdigest()
