"""What numbers mean: the values of an image, from a declared range or uint8 to [0, 1] and back; a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal.data.encoding import from_unit, to_unit
from synthreal.errors import UserError

SLACK = 0.5  # how far values may lie outside, in widths of the range: resampling and noise overshoot


@dataclass(frozen=True)
class ValueRange:
    """The range of float images; uint8 is 0 to 255 always.

    Attributes:
        low: what is 0.
        high: what is 1.

    Raises:
        UserError: not two finite numbers in order.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(f"range is {(self.low, self.high)}; give the least and the greatest value, such as (-1, 1)")

    @classmethod
    def of(cls, range: tuple[float, float]) -> ValueRange:
        """The scale of a declared range. Raises ``UserError`` when it is not two finite numbers in order."""
        try:
            low, high = range
            return cls(low, high)
        except (TypeError, ValueError):
            raise UserError(f"range is {range!r}; give the least and the greatest value, such as (-1, 1)") from None

    def unit(self, image: Tensor) -> Tensor:
        """An image of any shape, float in the range or uint8, as float32 in [0, 1]."""
        if image.dtype == torch.uint8:
            return to_unit(image)
        image = image.float()
        if self == ValueRange():
            return image
        width = torch.full((), self.high - self.low, device=image.device)  # by a number, CUDA would not divide exactly
        return (image - self.low) / width

    def restore(self, unit: Tensor, dtype: torch.dtype) -> Tensor:
        """The way back from :meth:`unit`, to the dtype the image had."""
        if dtype == torch.uint8:
            return from_unit(unit, "uint8")
        return (unit if self == ValueRange() else unit * (self.high - self.low) + self.low).to(dtype)

    def refuse(self, unit: Tensor) -> None:
        """Raise ``UserError`` when values lie far outside, or are NaN. Waits for the device."""
        least, most = torch.stack(unit.detach().aminmax()).tolist() if unit.numel() else (0.0, 1.0)
        if not (least >= -SLACK and most <= 1 + SLACK):
            if math.isnan(least):
                raise UserError("there are NaN among the values of the images; find where they come from")
            least, most = (self.low + value * (self.high - self.low) for value in (least, most))
            raise UserError(
                f"values from {least:.4g} to {most:.4g} are no image in {self}; scale them, give uint8, or declare "
                "what they are with range=(least, greatest) of synthreal.Refine"
            )

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


def check_probability(p: float) -> float:
    """``p`` itself. Raises ``UserError`` when it is no number in [0, 1]."""
    try:
        if 0 <= p <= 1:
            return p
    except TypeError:
        pass
    raise UserError(f"p={p!r}: a probability is in [0, 1]")
