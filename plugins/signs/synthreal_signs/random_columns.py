"""A table of uniform random numbers, one row per drawn sign and one column per parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class RandomColumns:
    """Returns the columns of ``table (n, K)`` in order, each ``(n,)``."""

    table: Tensor
    used: int = field(default=0, init=False)

    @classmethod
    def draw(cls, n: int, columns: int, generator: torch.Generator) -> RandomColumns:
        """A table of ``n`` rows drawn from ``generator``, on its device."""
        return cls(torch.rand(n, columns, generator=generator, device=generator.device))

    def uniform(self, low: float, high: float) -> Tensor:
        """The next column, uniform in [low, high): ``(n,)``."""
        column = self.table[:, self.used]
        self.used += 1
        return low + (high - low) * column

    def chance(self, probability: float) -> Tensor:
        """The next column as 1 with this probability, else 0: ``(n,)`` float."""
        return (self.uniform(0, 1) < probability).to(self.table.dtype)

    def index(self, count: int) -> Tensor:
        """The next column as an integer, uniform in 0 to ``count - 1``: ``(n,)`` int64."""
        return self.uniform(0, count).long().clamp_max(count - 1)  # a product may round up to ``count``
