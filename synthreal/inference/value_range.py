"""Value ranges of images: conversion from a declared range or uint8 to [0, 1] and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal.data.encoding import from_unit, to_unit
from synthreal.errors import UserError

SLACK = 0.5  # tolerance in widths of the range, because resampling and noise overshoot


@dataclass(frozen=True)
class ValueRange:
    """The range of float images; uint8 images are always 0 to 255."""

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, range: tuple[float, float]) -> ValueRange:
        """A declared range. Raises ``UserError`` if it is not two finite numbers in ascending order."""
        try:
            low, high = range
            if math.isfinite(low) and math.isfinite(high) and low < high:
                return cls(low, high)
        except (TypeError, ValueError):
            pass
        raise UserError(f"range is {range!r}; give the lowest and the highest value, such as (-1, 1)")

    def unit(self, image: Tensor) -> Tensor:
        """Convert images of any shape, float in the range or uint8, to float32 in [0, 1]."""
        if image.dtype == torch.uint8:
            return to_unit(image)
        image = image.float()
        if self == ValueRange():
            return image
        width = torch.full((), self.high - self.low, device=image.device)  # CUDA rounds a division by a Python number
        return (image - self.low) / width

    def restore(self, unit: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert back to the range and the given dtype."""
        if dtype == torch.uint8:
            return from_unit(unit, "uint8")
        return (unit if self == ValueRange() else unit * (self.high - self.low) + self.low).to(dtype)

    def refuse(self, unit: Tensor, name: str = "") -> None:
        """Raise ``UserError`` for values far outside the range, or NaN; ``name`` is that of the images, if not usual.

        Synchronizes with the device.
        """
        least, most = torch.stack(unit.detach().aminmax()).tolist() if unit.numel() else (0.0, 1.0)
        prefix = f"{name}: " if name else ""
        if not (least >= -SLACK and most <= 1 + SLACK):
            if math.isnan(least):
                raise UserError(f"{prefix}the images contain NaN; find where they come from")
            least, most = (self.low + value * (self.high - self.low) for value in (least, most))
            raise UserError(
                f"{prefix}values from {least:.4g} to {most:.4g} are not in {self}; scale them, give uint8, or declare "
                "their range with range=(lowest, highest) of synthreal.Refine"
            )

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


def check_probability(p: float) -> float:
    """Return ``p``. Raises ``UserError`` if it is not a number in [0, 1]."""
    try:
        if 0 <= p <= 1:
            return p
    except TypeError:
        pass
    raise UserError(f"p={p!r} is not a probability; give a number in [0, 1]")
