"""A refiner of one channel on colour images: it refines the luma, and the chroma stays."""

from __future__ import annotations

from torch import Tensor


def luma(image: Tensor) -> Tensor:
    """The luma of ITU-R BT.601, as JPEG has it: ``(B, 3, H, W)`` in [0, 1] to ``(B, 1, H, W)``.

    Grey pixels keep their value to the bit, so a colour image without colour is refined as the grey one is.
    """
    red, green, blue = image.unbind(dim=1)
    return (green + 0.299 * (red - green) + 0.114 * (blue - green)).unsqueeze(1)


def replace_luma(image: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The image ``(B, 3, H, W)`` in [0, 1] with luma ``after`` instead of ``before`` ``(B, 1, H, W)``.

    All three channels move by the same amount, which leaves the differences to luma, hence the chroma, as they are.
    A pixel moves no farther than to where a first channel is 0 or 1: saturated colours would change beyond.
    """
    low = -image.amin(dim=1, keepdim=True)
    high = 1 - image.amax(dim=1, keepdim=True)
    return image + (after - before).clamp(low, high)
