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


@torch.no_grad()
def kid_of_subsets(a: Tensor, b: Tensor, *, generator: torch.Generator, subsets: int = 100, size: int = 1000) -> Tensor:
    """:func:`kid` of random subsets, ``(subsets,)``: the mean is the KID as it is published, the deviation its noise.

    Args:
        a: features ``(N, D)``.
        b: features ``(M, D)``.
        generator: chooses the subsets, on any device.
        subsets: how many.
        size: vectors of each set in a subset, drawn without replacement.

    Raises:
        UserError: what :func:`kid` refuses, or ``size`` is more than a set holds.
    """
    _expect("kid_of_subsets", a, b)
    if subsets < 1 or not 2 <= size <= min(len(a), len(b)):
        raise UserError(
            f"kid_of_subsets: {subsets} subsets of {size} from sets of {len(a)} and {len(b)}; "
            "draw at least one, of 2 vectors or more and no more than the smaller set holds"
        )
    values = []
    for _ in range(subsets):
        first, second = (
            features[torch.randperm(len(features), generator=generator, device=generator.device)[:size].to(a.device)]
            for features in (a, b)
        )
        values.append(kid(first, second))
    return torch.stack(values)


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
