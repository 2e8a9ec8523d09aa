"""Kernel inception distance: the maximum mean discrepancy (MMD) between two sets of features, unbiased.

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
    """Squared MMD between two sets of features under the kernel ``(x . y / D + 1)**3``.

    Its mean over draws from one distribution is 0, so it may be negative; it grows with the difference of the sets'
    first three moments, and has no unit: compare it with what two halves of the real images give.

    Args:
        a: features ``(N, D)``, N at least 2, such as those of :mod:`synthreal.metrics.features`.
        b: features ``(M, D)``, M at least 2.

    Returns:
        ``()`` float64, computed in parts of 1,024 rows.

    Raises:
        UserError: sets of other shapes, or of fewer than 2.
    """
    _expect("kid", a, b)
    a, b = a.double(), b.double()
    return _within(a) + _within(b) - 2 * _sum(a, b) / (len(a) * len(b))


def _expect(who: str, a: Tensor, b: Tensor) -> None:
    proper = a.ndim == 2 and a.shape[1:] == b.shape[1:] and a.is_floating_point() and b.is_floating_point()
    if not proper or min(len(a), len(b)) < 2:
        raise UserError(
            f"{who}: given {list(a.shape)} and {list(b.shape)}; give float features (N, D) and (M, D), at least 2 each"
        )


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the kernel over all pairs."""
    return torch.stack([_kernel(part @ b.T, a.shape[1]).sum() for part in a.split(PART_ROWS)]).sum()


def _within(a: Tensor) -> Tensor:
    """Mean of the kernel over pairs of different vectors of one set."""
    same = _kernel(a.square().sum(1), a.shape[1]).sum()
    return (_sum(a, a) - same) / (len(a) * (len(a) - 1))


def _kernel(products: Tensor, size: int) -> Tensor:
    return (products / size + 1).pow(3)
