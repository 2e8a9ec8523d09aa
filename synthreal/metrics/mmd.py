"""Kernel inception distance: the unbiased maximum mean discrepancy (MMD) between two sets of features.

Sources: Gretton et al., "A kernel two-sample test", JMLR 2012 (the unbiased estimator, their equation 3); Binkowski et
al., "Demystifying MMD GANs", ICLR 2018 (the polynomial kernel and the name KID).
"""

from __future__ import annotations

import torch
from torch import Tensor

from synthreal.errors import UserError

PART_ROWS = 1024


@torch.no_grad()
def kid(a: Tensor, b: Tensor) -> Tensor:
    """Squared MMD between two sets of features under the kernel ``(x . y / D + 1)**3``: ``()`` float64.

    For two samples of one distribution its expectation is 0, so it may be negative. It grows with the difference of the
    first three moments and has no unit: compare it with the distance between two halves of the real images.

    Args:
        a: features ``(N, D)``, N at least 2, for example of :mod:`synthreal.metrics.features`.
        b: features ``(M, D)``, M at least 2.

    Raises:
        UserError: other shapes, or fewer than 2 rows.
    """
    if a.ndim != 2 or a.shape[1:] != b.shape[1:] or min(len(a), len(b)) < 2:
        shapes = f"{list(a.shape)} and {list(b.shape)}"
        raise UserError(f"kid: given {shapes}; give features (N, D), (M, D), at least 2 each")
    a, b = a.double(), b.double()
    return _within(a) + _within(b) - 2 * _sum(a, b) / (len(a) * len(b))


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the kernel over all pairs, in parts of 1,024 rows."""
    return torch.stack([_kernel(part @ b.T, a.shape[1]).sum() for part in a.split(PART_ROWS)]).sum()


def _within(a: Tensor) -> Tensor:
    """Mean of the kernel over the pairs of different rows of one set."""
    return (_sum(a, a) - _kernel(a.square().sum(1), a.shape[1]).sum()) / (len(a) * (len(a) - 1))


def _kernel(products: Tensor, size: int) -> Tensor:
    return (products / size + 1).pow(3)
