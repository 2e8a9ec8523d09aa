"""Luma and chroma, for refiners of one channel on colour images."""

from __future__ import annotations

from torch import Tensor


def luma(image: Tensor) -> Tensor:
    """The luma of ITU-R BT.601, as in JPEG: ``(B, 3, H, W)`` in [0, 1] to ``(B, 1, H, W)``.

    The luma of a grey pixel is its value to the bit, so a grey image in RGB is refined like the same image in grey.
    """
    red, green, blue = image.unbind(dim=1)
    return (green + 0.299 * (red - green) + 0.114 * (blue - green)).unsqueeze(1)


def replace_luma(image: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The image ``(B, 3, H, W)`` in [0, 1] with luma ``after`` in place of its luma ``before``, both ``(B, 1, H, W)``.

    All three channels of a pixel change by the same amount, so their differences to luma, the chroma, stay the same.
    The change ends where a channel reaches 0 or 1, because clipping would change saturated colours.
    """
    low = -image.amin(dim=1, keepdim=True)
    high = 1 - image.amax(dim=1, keepdim=True)
    return image + (after - before).clamp(low, high)
