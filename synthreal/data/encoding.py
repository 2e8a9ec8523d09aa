"""Stored images and labels: their exact conversion to the form a device holds and back, and the hash of their content.

On disk an image is uint8, uint16 or float16. On a device uint8 and float16 are unchanged, and uint16 is held as **int16
with the same bits**: torch has few uint16 operators (on CUDA no ``index_select``, among others), and int32 would double
the memory of a depth data set that has to fit on one GPU. In this package a stored *tensor* of dtype int16 therefore
always holds uint16 bits; only this module interprets it.

Integers are divided by their dtype's maximum with correct rounding, so that the CPU, CUDA and numpy agree to the bit
(CUDA multiplies by the reciprocal when the divisor is a Python number). ``from_unit(to_unit(x)) == x`` for every stored
value.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from synthreal.spec import STORED_DTYPES, ImageSpec, StoredDtype

Stored = TypeVar("Stored", np.ndarray, Tensor)
_MAXIMUM: dict[StoredDtype, float] = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0}
_LARGEST = np.finfo(np.float32).max
_TORCH: dict[StoredDtype, torch.dtype] = {"uint8": torch.uint8, "uint16": torch.int16, "float16": torch.float16}


def image_bytes(image: ImageSpec) -> int:
    """The size of one stored image in bytes."""
    return int(np.prod(image.shape)) * np.dtype(image.dtype).itemsize


def stored_tensor(array: np.ndarray) -> Tensor:
    """A stored array ``(..., H, W)`` uint8, uint16 or float16 as a host tensor of the same bits; shares memory."""
    if array.dtype.name not in STORED_DTYPES:
        raise TypeError(f"a stored image is one of {', '.join(STORED_DTYPES)}, not {array.dtype}")
    array = np.require(array, requirements=["C", "W"])
    return torch.from_numpy(array.view(np.int16) if array.dtype == np.uint16 else array)


def stored_array(tensor: Tensor) -> np.ndarray:
    """The inverse of :func:`stored_tensor`: a stored tensor on any device as a numpy array of the same bits."""
    if tensor.dtype not in _TORCH.values():
        raise TypeError(f"a stored image tensor is uint8, int16 (uint16 bits) or float16, not {tensor.dtype}")
    array: np.ndarray = tensor.detach().cpu().contiguous().numpy()
    return array.view(np.uint16) if tensor.dtype == torch.int16 else array


def to_unit(stored: Stored) -> Stored:
    """A stored image of any shape as float32 in [0, 1]: an array from an array, a tensor on the device of a tensor."""
    if isinstance(stored, np.ndarray):
        return to_unit(stored_tensor(stored)).numpy()
    if stored.dtype == torch.float16:
        return stored.float()
    if stored.dtype == torch.int16:
        return _divided((stored.int() & 0xFFFF).float(), "uint16")
    if stored.dtype == torch.uint8:
        return _divided(stored.float(), "uint8")
    raise TypeError(f"a stored image tensor is uint8, int16 (uint16 bits) or float16, not {stored.dtype}")


def from_unit(image: Tensor, dtype: StoredDtype) -> Tensor:
    """A finite float image of any shape as a stored tensor on its device: clamped to [0, 1], rounded half to even."""
    levels = _levels(image, dtype)
    if dtype != "uint16":
        return levels.to(_TORCH[dtype])
    bits = levels.to(torch.int32)
    return torch.where(bits > 0x7FFF, bits - 0x10000, bits).to(torch.int16)


def quantize(image: Tensor, dtype: StoredDtype) -> Tensor:
    """``to_unit(from_unit(image, dtype))`` without the stored tensor between them; a NaN remains a NaN."""
    levels = _levels(image, dtype)
    return levels.half().float() if dtype == "float16" else _divided(levels, dtype)


def _levels(image: Tensor, dtype: StoredDtype) -> Tensor:
    """A float image of any shape as float32 in the range of a stored dtype, integers rounded half to even."""
    image = image.detach().float().clamp(0.0, 1.0)
    return image if dtype == "float16" else (image * _MAXIMUM[dtype]).round_()


def _divided(levels: Tensor, dtype: StoredDtype) -> Tensor:
    return levels.div_(torch.full((), _MAXIMUM[dtype], device=levels.device))


def composite(image: Tensor, background: float) -> Tensor:
    """Grey or colour with alpha, ``(2 or 4, H, W)`` in [0, 1], on a grey in [0, 1]; without the alpha channel."""
    return image[:-1] * image[-1] + background * (1 - image[-1])


def label_array(array: np.ndarray) -> np.ndarray:
    """A label as on a device: native byte order; floats become float32, uint16 int32, uint32 and uint64 int64."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    wider = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64}
    return array.astype(wider.get(array.dtype.name, array.dtype.newbyteorder("=")), copy=False)


def label_tensor(array: np.ndarray) -> Tensor:
    """:func:`label_array` as a host tensor ``(B, *L)``."""
    return torch.from_numpy(np.require(label_array(array), requirements=["C", "W"]))


def first_bad(array: np.ndarray, *, unit: bool = False) -> int | None:
    """The first row with a value that is not finite in float32 (``unit``: not in [0, 1]), or None."""
    if array.dtype.kind != "f" or array.size == 0:
        return None
    low, high = (0, 1) if unit else (-_LARGEST, _LARGEST)
    if array.min() >= low and array.max() <= high:  # a NaN shows in both, so a good array takes one pass
        return None
    good = (array >= low) & (array <= high)
    return int(np.argmin(good.reshape(len(array), -1).all(axis=1)))


def content_sha256(blocks: Iterable[tuple[np.ndarray, Mapping[str, np.ndarray]]]) -> str:
    """64 hex digits for images ``(B, C, H, W)`` and labels ``(B, *L)`` in blocks of any size.

    It does not depend on chunks or location: images are hashed in their stored dtype, labels in their dtype on a device
    (:func:`label_array`), so a pack and the resident tensors read from it have the same hash.
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
