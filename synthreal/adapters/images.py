"""Refine PIL images, arrays and tensors; results have the kind, layout, dtype and shape of the input.

PIL images have 8 or 16 bits. Arrays are ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)`` in uint8, uint16 or float in [0, 1],
tensors ``(H, W)`` or ``(C, H, W)`` in uint8 or float in [0, 1].
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from synthreal.adapters.lazy import LazyRefine, draw_seed, pick
from synthreal.data.encoding import from_unit, stored_array, to_unit
from synthreal.errors import UserError
from synthreal.inference.value_range import ValueRange
from synthreal.spec import STORED_DTYPES

_UNIT = ValueRange()
_PIL_MODES = ("L", "LA", "RGB", "RGBA", "I;16")


def refine_images(
    refine: LazyRefine, images: Sequence[Any], *, keys: Tensor, seed: int, names: Sequence[str] = ()
) -> list[Any]:
    """Refine images of any kinds and sizes; images of one size pass through the network together.

    ``keys`` and ``seed`` determine noise maps, see :class:`LazyRefine`. A 3D array is ``(H, W, C)`` if its last size is
    C. Raises ``UserError`` for a wrong type, shape, dtype or range, with the name of the image from ``names``.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    tensors = []
    for index, image in enumerate(images):
        try:
            tensors.append(_to_tensor(image, refine.channels))
        except UserError as error:
            raise UserError(f"{names[index]}: {error}" if names else str(error)) from None
        groups[tensors[-1].shape, tensors[-1].device].append(index)
    results: list[Any] = list(images)
    for indices in groups.values():
        batch = torch.stack([tensors[index] for index in indices])
        for index, refined in zip(indices, refine(batch, keys=keys[indices], seed=seed), strict=True):
            results[index] = _like(refined, images[index])
    return results


def refine_some(
    refine: LazyRefine, images: Sequence[Any], *, p: float, keys: Tensor, seed: int | None, names: Sequence[str]
) -> list[Any]:
    """:func:`refine_images` for each image with probability ``p``, decided by ``(seed, key)``; None draws a seed."""
    seed = draw_seed() if seed is None else seed
    rows = pick(p, keys, seed).nonzero().flatten().tolist()
    chosen, chosen_names = [images[row] for row in rows], [names[row] for row in rows]
    refined = refine_images(refine, chosen, keys=keys[rows], seed=seed, names=chosen_names)
    results = dict(enumerate(images)) | dict(zip(rows, refined, strict=True))
    return list(results.values())


def _to_tensor(image: Any, channels: int) -> Tensor:
    """Any image as float32 ``(C, H, W)`` in [0, 1]."""
    channels_last = False
    if isinstance(image, Tensor):
        if not (image.is_floating_point() or image.dtype == torch.uint8):
            raise UserError(f"images are uint8 or float in [0, 1], given {image.dtype}; convert them first")
        unit = _UNIT.unit(image)
    elif isinstance(image, np.ndarray | Image.Image):
        if isinstance(image, Image.Image) and image.mode not in _PIL_MODES:
            raise UserError(f"cannot refine a PIL image of mode {image.mode}; convert it to L or RGB")
        array = np.asarray(image)
        if array.dtype.kind != "f" and array.dtype.name not in STORED_DTYPES:
            raise UserError(f"images are uint8, uint16 or float in [0, 1], given {array.dtype}; convert them first")
        unit = torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else to_unit(array))
        channels_last = array.ndim == 3 and array.shape[-1] == channels
    else:
        raise UserError(f"{type(image).__name__} is not an image; give PIL images, numpy arrays or tensors")
    _UNIT.refuse(unit)
    tensor = unit[None] if unit.ndim == 2 else unit.permute(2, 0, 1) if channels_last else unit
    if tensor.ndim != 3 or tensor.shape[0] != channels:
        shapes = f"(H, W, {channels}) or ({channels}, H, W)" + " or (H, W)" * (channels == 1)
        raise UserError(f"this refiner takes images {shapes}, given {type(image).__name__} {tuple(unit.shape)}")
    return tensor


def _like(refined: Tensor, image: Any) -> Any:
    """A refined ``(C, H, W)`` in the form of the original image."""
    if isinstance(image, Tensor):
        return _UNIT.restore(refined.reshape(image.shape), image.dtype)
    original = np.asarray(image)
    if original.ndim == 2:
        refined = refined[0]
    elif original.shape[-1] == len(refined):
        refined = refined.permute(1, 2, 0)
    if original.dtype.kind == "f":
        return refined.cpu().contiguous().numpy().astype(original.dtype, copy=False)
    array = stored_array(from_unit(refined, "uint8" if original.dtype == np.uint8 else "uint16"))
    return Image.fromarray(array) if isinstance(image, Image.Image) else array
