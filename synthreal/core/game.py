"""The two-player game: the state of both networks, and the two updates of Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from synthreal.core.history import History
from synthreal.core.losses import discriminator_adversarial, refiner_adversarial, self_regularization
from synthreal.core.refiner import refine


@dataclass
class Game:
    """Everything the updates change, in one place.

    Attributes:
        refiner: R.
        discriminator: D, logits > 0 mean refined.
        features: pairs of psi and weight.
        weight: lambda.
        optimizer_refiner: steps R.
        optimizer_discriminator: steps D.
        generator: the run's randomness on the device: noise maps and history.
        history: past refined images, or None (ablation).
        average: exponential moving average of R's weights, or None.
        autocast: reduced precision of the networks' arithmetic, or None for float32.
    """

    refiner: nn.Module
    discriminator: nn.Module
    features: Sequence[tuple[nn.Module, float]]
    weight: float
    optimizer_refiner: torch.optim.Optimizer
    optimizer_discriminator: torch.optim.Optimizer
    generator: torch.Generator
    history: History | None = None
    average: AveragedModel | None = None
    autocast: torch.dtype | None = None

    def precision(self) -> torch.autocast:
        """The context in which the networks compute."""
        return torch.autocast(self.generator.device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def averaged(self) -> nn.Module:
        """The refiner users get: the averaged one where there is one, else R itself."""
        module: nn.Module = self.refiner if self.average is None else self.average.module
        return module


@dataclass(frozen=True)
class RefinerUpdate:
    """Scalars on the device: the losses of one R update and mean |R(x) - x|."""

    adversarial: Tensor | None
    regularization: Tensor
    change: Tensor


@dataclass(frozen=True)
class DiscriminatorUpdate:
    """Scalars on the device: D's loss, and the share of patches it calls rightly, by kind."""

    loss: Tensor
    accuracy_real: Tensor
    accuracy_refined: Tensor


def update_refiner(game: Game, simulated: Tensor, *, adversarial: bool) -> RefinerUpdate:
    """One step of R on Eq. 4, D frozen; without ``adversarial``, on self-regularization alone.

    Args:
        game: the state; R, its optimizer, its average and the generator change.
        simulated: x, ``(b, C, H, W)`` in [0, 1].
        adversarial: whether D takes part.
    """
    with game.precision():
        refined = refine(game.refiner, simulated, game.generator)
        fooling = refiner_adversarial(game.discriminator(refined)) if adversarial else None
    regularization = self_regularization(refined, simulated, game.features)
    loss = regularization if fooling is None else fooling + game.weight * regularization
    game.optimizer_refiner.zero_grad(set_to_none=True)
    loss.backward(inputs=list(game.refiner.parameters()))
    game.optimizer_refiner.step()
    if game.average is not None:
        _follow(game.average, game.refiner)
    change = (refined.detach() - simulated).abs().mean()
    return RefinerUpdate(None if fooling is None else fooling.detach(), regularization.detach(), change)


def update_discriminator(game: Game, simulated: Tensor, real: Tensor) -> DiscriminatorUpdate:
    """One step of D on Eq. 2, R frozen: b refined images (half fresh, half past) against b real ones.

    Args:
        game: the state; D, its optimizer, the history and the generator change.
        simulated: x, ``(b, C, H, W)`` in [0, 1]; with a history that holds b/2 images only the first half is refined.
        real: y, ``(b, C, H, W)`` in [0, 1].
    """
    past = simulated.shape[0] // 2
    half = simulated.shape[0] - past
    recall = game.history is not None and len(game.history) >= past
    with torch.no_grad(), game.precision():
        refined = refine(game.refiner, simulated[:half] if recall else simulated, game.generator)
    fresh = refined[:half]
    if game.history is not None:
        if recall:
            refined = torch.cat([fresh, game.history.draw(past, game.generator)])
        game.history.push(fresh, game.generator)
    with game.precision():
        logits_refined, logits_real = game.discriminator(refined), game.discriminator(real)
        loss = discriminator_adversarial(logits_refined, logits_real)
    game.optimizer_discriminator.zero_grad(set_to_none=True)
    loss.backward(inputs=list(game.discriminator.parameters()))
    game.optimizer_discriminator.step()
    accuracy_real, accuracy_refined = (logits_real < 0).float().mean(), (logits_refined > 0).float().mean()
    return DiscriminatorUpdate(loss.detach(), accuracy_real, accuracy_refined)


@torch.no_grad()
def _follow(average: AveragedModel, refiner: nn.Module) -> None:
    """One step of the moving average, without torch's copy of its counter to the device: that waits for the device."""
    if average.multi_avg_fn is None or average.n_averaged == 0:
        average.update_parameters(refiner)
        return
    average.multi_avg_fn(list(average.module.parameters()), list(refiner.parameters()), average.n_averaged)
    for ours, theirs in zip(average.module.buffers(), refiner.buffers(), strict=True):
        ours.copy_(theirs)
    average.n_averaged += 1
