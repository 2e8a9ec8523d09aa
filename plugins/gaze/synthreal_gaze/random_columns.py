"""Uniform random numbers dealt out one parameter at a time, one column per parameter.

Every random property of a drawn eye is a column of a table ``(n, K)`` of numbers in [0, 1). The table is either drawn
from a generator (what changes from image to image) or looked up by identity number (what belongs to a person), and
the code that turns columns into properties is the same for both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RandomColumns:
    """Deals the columns of ``unit (n, K)`` in order, each shaped ``(n, 1, 1)`` to broadcast over pixels."""

    unit: Tensor
    used: int = field(default=0, init=False)

    @classmethod
    def roll(cls, n: int, columns: int, generator: torch.Generator) -> RandomColumns:
        """A fresh table of ``n`` rows drawn from ``generator``, on its device."""
        return cls(torch.rand(n, columns, generator=generator, device=generator.device))

    def uniform(self, low: float, high: float) -> Tensor:
        """The next column, uniform in [low, high): ``(n, 1, 1)``."""
        column = self.unit[:, self.used]
        self.used += 1
        return (low + (high - low) * column)[:, None, None]

    def normal(self, mean: float, std: float, limit: float = 2.5) -> Tensor:
        """The next column, normal and cut at ``limit`` standard deviations: ``(n, 1, 1)``."""
        edge = math.erf(limit / math.sqrt(2))
        return mean + std * math.sqrt(2) * torch.erfinv(self.uniform(-edge, edge))

    def chance(self, probability: float) -> Tensor:
        """1 with this probability, else 0: ``(n, 1, 1)`` float."""
        return (self.uniform(0, 1) < probability).to(self.unit.dtype)
