"""Foreign images made to measure: any image file's pixels as an image of the run's domain.

Only images whose labels are not carried, or images of the right size already, come here: whatever its unit, a label
(a keypoint, a mask, an angle seen in another aspect ratio) may no longer be true after resizing, so
:func:`synthreal.data.source.convert_samples` refuses to resize labelled images.
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
    """An image ``(C, H, W)`` of any size, 1-4 channels, uint8, uint16 or float16, as one of ``spec``, in stored dtype.

    Channels: the same number is kept as it is; for grey and RGB targets alpha is dropped (not composited), colour
    becomes grey by the Rec. 601 luma, grey is repeated. Size: antialiased bilinear, without regard to the aspect
    ratio; nearest when the domain has a background or an invalid value, because blending depth across an edge
    invents surfaces. Depth: scaled by the dtypes' maxima. What already agrees is not touched.

    Raises:
        UserError: the channels cannot be mapped (a 2- or 4-channel domain needs files with as many).
    """
    if image.ndim != 3 or not 1 <= image.shape[0] <= 4:
        raise UserError(f"an image of shape {image.shape} is not (C, H, W) with 1 to 4 channels; correct the reader")
    if image.shape == spec.shape and image.dtype == np.dtype(spec.dtype):
        return image
    if first_bad(image[None], unit=True) is not None:
        raise UserError("an image has a pixel that is NaN, infinite or outside [0, 1]; remove or repair it")
    pixels = _channels(torch.from_numpy(to_unit(image)), spec.channels)
    if pixels.shape[1:] != (spec.height, spec.width):
        size = (spec.height, spec.width)
        if spec.background is None and spec.invalid is None:
            pixels = interpolate(pixels[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
        else:
            pixels = interpolate(pixels[None], size=size, mode="nearest-exact")[0]
    return stored_array(from_unit(pixels, spec.dtype))


def _channels(pixels: torch.Tensor, wanted: int) -> torch.Tensor:
    found = len(pixels)
    if found == wanted:
        return pixels
    colour = pixels[: found - 1] if found in (2, 4) else pixels
    if wanted == 1:
        return (colour * torch.tensor(_LUMA)[:, None, None]).sum(0, keepdim=True) if len(colour) == 3 else colour
    if wanted == 3:
        return colour.expand(3, -1, -1) if len(colour) == 1 else colour
    raise UserError(f"an image of {found} channels cannot become one of {wanted}; give files with {wanted} channels")
