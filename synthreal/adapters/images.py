"""Images as other libraries hold them, refined and given back as they came: kind, layout, dtype and shape.

PIL images of 8 or 16 bits, arrays ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, tensors ``(C, H, W)`` or ``(H, W)``;
uint8, uint16 (arrays) or float in [0, 1].
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from synthreal.adapters.lazy import LazyRefine
from synthreal.data.encoding import STORED_DTYPES, from_unit, stored_array, to_unit
from synthreal.errors import UserError
from synthreal.inference.value_range import ValueRange

_UNIT = ValueRange()
_MODES = ("L", "LA", "RGB", "RGBA", "I;16")


def refine_images(
    refine: LazyRefine, images: Sequence[Any], *, keys: Tensor, seed: int, names: Sequence[str] = ()
) -> list[Any]:
    """Refine images of any kinds and sizes; those of one size pass through the network together.

    Args:
        refine: what refines.
        images: PIL images, arrays or tensors. A 3D array is ``(H, W, C)``, or else ``(C, H, W)``, by where C fits.
        keys: ``(B,)`` int64, for noise maps.
        seed: of noise maps.
        names: what errors call the images.

    Raises:
        UserError: not an image, another number of channels, another dtype or range.
    """
    planes = []
    for place, image in enumerate(images):
        try:
            planes.append(_planes(image, refine.channels))
        except UserError as error:
            raise UserError(f"{names[place]}: {error}" if names else str(error)) from None
    groups: dict[Any, list[int]] = defaultdict(list)
    for place, plane in enumerate(planes):
        groups[plane.shape, plane.device].append(place)
    found: list[Any] = list(images)
    for places in groups.values():
        batch = torch.stack([planes[place] for place in places])
        for place, refined in zip(places, refine(batch, keys=keys[places], seed=seed), strict=True):
            found[place] = _like(refined, images[place])
    return found


def refine_array(refine: LazyRefine, images: np.ndarray, *, keys: Tensor, seed: int) -> np.ndarray:
    """Refine arrays ``(B, H, W)`` or ``(B, H, W, C)`` in one pass; errors as in :func:`refine_images`."""
    unit = _unit_array(images)
    if images.ndim == 3 and refine.channels == 1:
        batch = unit[:, None]
    elif images.ndim == 4 and images.shape[-1] == refine.channels:
        batch = unit.permute(0, 3, 1, 2)
    else:
        raise _wrong(f"array {images.shape[1:]}", refine.channels, "(H, W, {c})", "(H, W)")
    refined = refine(batch, keys=keys, seed=seed)
    return _array(refined[:, 0] if images.ndim == 3 else refined.permute(0, 2, 3, 1), images.dtype)


def refine_tensor(refine: LazyRefine, images: Tensor, *, keys: Tensor, seed: int) -> Tensor:
    """Refine tensors ``(B, C, H, W)``, uint8 or float in [0, 1], in one pass; errors as in :func:`refine_images`."""
    if images.ndim != 4 or images.shape[1] != refine.channels:
        raise _wrong(f"tensor {tuple(images.shape[1:])}", refine.channels, "({c}, H, W)")
    return refine(images, keys=keys, seed=seed)


def _planes(image: Any, channels: int) -> Tensor:
    """Any image as float32 ``(C, H, W)`` in [0, 1]."""
    if isinstance(image, Image.Image):
        if image.mode not in _MODES:
            raise UserError(f"a PIL image of mode {image.mode} is none to refine; convert it, to L or RGB")
        found, last = _unit_array(np.asarray(image)), True
    elif isinstance(image, np.ndarray):
        found, last = _unit_array(image), image.ndim == 3 and image.shape[-1] == channels
    elif isinstance(image, Tensor):
        if not (image.is_floating_point() or image.dtype == torch.uint8):
            raise UserError(f"images are uint8 or float in [0, 1], given {image.dtype}; convert them first")
        found, last = _UNIT.unit(image), False
        _UNIT.refuse(found)
    else:
        raise UserError(f"{type(image).__name__} is no image; give PIL images, numpy arrays or tensors")
    shape = tuple(found.shape)
    if found.ndim == 2:
        found = found[None]
    elif found.ndim == 3 and last:
        found = found.permute(2, 0, 1)
    if found.ndim != 3 or found.shape[0] != channels:
        raise _wrong(f"{type(image).__name__} {shape}", channels, "(H, W, {c}) or ({c}, H, W)", "(H, W)")
    return found


def _like(refined: Tensor, image: Any) -> Any:
    """A refined ``(C, H, W)`` as the image it was."""
    if isinstance(image, Tensor):
        return _UNIT.restore(refined.reshape(image.shape), image.dtype)
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        refined = refined[0]
    elif pixels.shape[-1] == len(refined):
        refined = refined.permute(1, 2, 0)
    array = _array(refined, pixels.dtype)
    return Image.fromarray(array) if isinstance(image, Image.Image) else array


def _unit_array(array: np.ndarray) -> Tensor:
    if array.dtype.kind == "f":
        unit = torch.from_numpy(array.astype(np.float32))
        _UNIT.refuse(unit)  # here, where the image at fault can be named
        return unit
    if array.dtype.name not in STORED_DTYPES:
        raise UserError(f"images are uint8, uint16 or float in [0, 1], given {array.dtype}; convert them first")
    return torch.from_numpy(to_unit(array))


def _array(refined: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return refined.cpu().contiguous().numpy().astype(dtype, copy=False)
    return stored_array(from_unit(refined, "uint8" if dtype == np.uint8 else "uint16"))


def _wrong(given: str, channels: int, shapes: str, grey: str = "") -> UserError:
    also = f" or {grey}" if grey and channels == 1 else ""
    return UserError(f"this refiner takes images {shapes.format(c=channels)}{also}, given {given}")
