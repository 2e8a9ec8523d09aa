"""How much more frequent some numbers are in one set than in another, from two normal distributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

RIDGE = (
    1e-4  # added to the variances, as a share of those of both sets together, so that a constant number does no harm
)


@dataclass(frozen=True)
class DensityRatio:
    """The density of ``wanted`` divided by that of ``given``, of numbers ``(N, Q)`` of both."""

    origin: Tensor
    scale: Tensor
    given: MultivariateNormal
    wanted: MultivariateNormal

    @classmethod
    def of(cls, given: Tensor, wanted: Tensor) -> DensityRatio:
        """Fit normal distributions to ``(N, Q)`` and ``(M, Q)`` numbers."""
        given, wanted = given.double(), wanted.double()
        both = torch.cat([given, wanted])
        origin, scale = both.mean(0), both.std(0)
        scale = torch.where(scale > 0, scale, 1.0)
        fitted = []
        for values in (given, wanted):
            standard = (values - origin) / scale
            covariance = standard.T.cov().reshape(len(scale), len(scale))
            fitted.append(MultivariateNormal(standard.mean(0), covariance + RIDGE * torch.eye(len(scale)).to(scale)))
        return cls(origin, scale, *fitted)

    def __call__(self, values: Tensor) -> Tensor:
        """The ratio at ``(B, Q)`` numbers, ``(B,)``."""
        standard = (values - self.origin) / self.scale
        ratio: Tensor = (self.wanted.log_prob(standard) - self.given.log_prob(standard)).exp()
        return ratio
