"""Conversion of images of any size, channels and depth to the images of a run.

Labelled images are not resized (:func:`synthreal.data.source.convert_samples` refuses them): whatever its unit, a label
such as a keypoint, a mask or an angle may no longer be true in another size or aspect ratio.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from synthreal.data.encoding import first_bad, from_unit, stored_array, to_unit
from synthreal.errors import UserError
from synthreal.spec import ImageSpec

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def convert_image(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Convert an image ``(C, H, W)`` of any size, 1 to 4 channels, uint8, uint16 or float16, to one of ``spec``.

    Channels: for grey and RGB, alpha is dropped (not composited), colour becomes grey by the Rec. 601 luma, and grey is
    repeated. Size: antialiased bilinear interpolation without regard to the aspect ratio; nearest neighbour when the
    spec has a background or an invalid value, because blending depth across an edge invents surfaces. Depth: scaled by
    the maxima of the dtypes. An image that already has the shape and dtype of ``spec`` is returned unchanged.

    Raises:
        UserError: the channels cannot be mapped (2 or 4 channels need files with as many), or a pixel is not finite or
            outside [0, 1].
    """
    if image.ndim != 3 or not 1 <= image.shape[0] <= 4:
        raise UserError(f"an image of shape {image.shape} is not (C, H, W) with 1 to 4 channels; correct the reader")
    if image.shape == spec.shape and image.dtype == np.dtype(spec.dtype):
        return image
    if first_bad(image[None], unit=True) is not None:
        raise UserError("an image has a pixel that is NaN, infinite or outside [0, 1]; remove or repair it")
    pixels = _channels(torch.from_numpy(to_unit(image)), spec.channels)
    size = (spec.height, spec.width)
    if pixels.shape[1:] != size:
        if spec.background is None and spec.invalid is None:
            pixels = interpolate(pixels[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
        else:
            pixels = interpolate(pixels[None], size=size, mode="nearest-exact")[0]
    return stored_array(from_unit(pixels, spec.dtype))


def _channels(pixels: torch.Tensor, channels: int) -> torch.Tensor:
    given = len(pixels)
    if given == channels:
        return pixels
    colour = pixels[: given - 1] if given in (2, 4) else pixels
    if channels == 1:
        return (colour * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True) if len(colour) == 3 else colour
    if channels == 3:
        return colour.expand(3, -1, -1) if len(colour) == 1 else colour
    raise UserError(f"an image of {given} channels cannot become one of {channels}; give files with {channels}")
