"""A table of uniform random numbers, one column per parameter of a rendered eye.

The table ``(n, K)`` is drawn from a generator for parameters that change with every image, and looked up by identity
number for parameters of a person. The code that turns columns into parameters is the same for both.
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
    """Returns the columns of ``table (n, K)`` in order, with shape ``(n, 1, 1)`` to broadcast over pixels."""

    table: Tensor
    used: int = field(default=0, init=False)

    @classmethod
    def draw(cls, n: int, columns: int, generator: torch.Generator) -> RandomColumns:
        """A table of ``n`` rows drawn from ``generator``, on its device."""
        return cls(torch.rand(n, columns, generator=generator, device=generator.device))

    def uniform(self, low: float, high: float) -> Tensor:
        """The next column, uniform in [low, high): ``(n, 1, 1)``."""
        column = self.table[:, self.used]
        self.used += 1
        return (low + (high - low) * column)[:, None, None]

    def normal(self, mean: float, std: float, limit: float = 2.5) -> Tensor:
        """The next column, normal and truncated at ``limit`` standard deviations: ``(n, 1, 1)``."""
        edge = math.erf(limit / math.sqrt(2))
        return mean + std * math.sqrt(2) * torch.erfinv(self.uniform(-edge, edge))

    def chance(self, probability: float) -> Tensor:
        """The next column as 1 with this probability, else 0: ``(n, 1, 1)`` float."""
        return (self.uniform(0, 1) < probability).to(self.table.dtype)
