"""The losses of R and D, as means over patches, psi maps and batch.

With means, the effective lambda does not depend on batch size or image size. The paper uses sums over patches and
pixels: its lambda converts by N_pixels / N_patches (15.3 for gaze, 1024 for hands), and an L1 measured on [0, 1] is
half of one measured on [-1, 1]. Its learning rates on the sum of N_patches cross-entropies multiply by N_patches.

Targets: real 0, refined 1; a logit z means D = sigmoid(z) = probability of "refined". Then
-log D = softplus(-z) and -log(1 - D) = softplus(z).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


def refiner_adversarial(logits_refined: Tensor) -> Tensor:
    """-log(1 - D(R(x))), the non-saturating loss of R (paper Eq. 3), mean over ``(B, 1, h, w)`` logits."""
    return softplus(logits_refined).mean()


def discriminator_refined(logits_refined: Tensor) -> Tensor:
    """-log D(R(x)), the first half of D's loss (paper Eq. 2), mean over ``(B, 1, h, w)`` logits."""
    return softplus(-logits_refined).mean()


def discriminator_real(logits_real: Tensor) -> Tensor:
    """-log(1 - D(y)), the second half of D's loss (paper Eq. 2), mean over ``(B, 1, h, w)`` logits."""
    return softplus(logits_real).mean()


def self_regularization(refined: Tensor, simulated: Tensor, features: Sequence[tuple[nn.Module, float]]) -> Tensor:
    """Sum over psi of weight x mean |psi(R(x)) - psi(x)| (paper Eq. 4, as a mean).

    Args:
        refined: R(x), ``(B, C, H, W)`` in [0, 1].
        simulated: x, the same shape.
        features: pairs of psi and weight.
    """
    terms = [weight * (psi(refined) - psi(simulated)).abs().mean() for psi, weight in features]
    return torch.stack(terms).sum()
