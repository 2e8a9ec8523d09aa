"""The two-player game: the state of both networks, and the two updates of Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from synthreal.core.history import History
from synthreal.core.losses import discriminator_real, discriminator_refined, refiner_adversarial, self_regularization
from synthreal.core.refiner import micro_batches, noise_for, refine, refine_with
from synthreal.distributed.processes import SINGLE_PROCESS, Processes


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
        generator: the run's randomness on the device: noise maps, and history's slots where this process is alone.
        history: past refined images, or None (ablation).
        average: exponential moving average of R's weights, or None.
        autocast: reduced precision of the networks' arithmetic, or None for float32.
        micro_batch: images that pass through the networks at once, gradients adding up; None for whole mini-batches.
        processes: those of the run; ``generator`` is in the same state on each, ``history`` is each one's own.
        slots: draws history's slots where several play, differently on each; None draws them from ``generator``.
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
    micro_batch: int | None = None
    processes: Processes = SINGLE_PROCESS
    slots: torch.Generator | None = None

    def precision(self) -> torch.autocast:
        """The context in which the networks compute."""
        return torch.autocast(self.generator.device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def averaged(self) -> nn.Module:
        """The refiner users get: the averaged one where there is one, else R itself."""
        module: nn.Module = self.refiner if self.average is None else self.average.module
        return module

    def diverged(self) -> list[str]:
        """Which of the two networks has a weight that is NaN or infinite."""
        networks = {"weights of the refiner": self.refiner, "weights of the discriminator": self.discriminator}
        return [
            name
            for name, network in networks.items()
            if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
        ]

    def average_gradients(self, player: nn.Module) -> None:
        """Make a player's gradients their mean over all processes, and both players' running statistics with them."""
        if self.processes.size == 1:
            return
        learned = [parameter for parameter in player.parameters() if parameter.requires_grad]
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        statistics = (*self.refiner.buffers(), *self.discriminator.buffers())
        self.processes.all_reduce_mean(
            [parameter.grad for parameter in learned if parameter.grad is not None]
            + [buffer for buffer in statistics if buffer.is_floating_point()]
        )


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
        simulated: x, ``(b, C, H, W)`` in [0, 1]; of several processes each gives its share of the mini-batch.
        adversarial: whether D takes part.
    """
    noise = noise_for(game.refiner, simulated, game.generator, game.processes)
    game.optimizer_refiner.zero_grad(set_to_none=True)
    told = []
    for rows, share in _parts(len(simulated), game.micro_batch):
        x = simulated[rows]
        with game.precision():
            refined = refine_with(game.refiner, x, None if noise is None else noise[rows])
            fooling = refiner_adversarial(game.discriminator(refined)) if adversarial else None
        regularization = self_regularization(refined, x, game.features)
        loss = regularization if fooling is None else fooling + game.weight * regularization
        (share * loss).backward(inputs=list(game.refiner.parameters()))
        change = (refined.detach() - x).abs().mean()
        told.append(
            share * torch.stack([regularization if fooling is None else fooling, regularization, change]).detach()
        )
    game.average_gradients(game.refiner)
    game.optimizer_refiner.step()
    if game.average is not None:
        _follow(game.average, game.refiner)
    fooled, regularized, changed = torch.stack(told).sum(dim=0)
    return RefinerUpdate(fooled if adversarial else None, regularized, changed)


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
    x = simulated[:half] if recall else simulated
    noise = noise_for(game.refiner, x, game.generator, game.processes)
    with torch.no_grad(), game.precision():
        refined = refine(game.refiner, x, game.generator, noise=noise, micro_batch=game.micro_batch)
    fresh = refined[:half]
    if game.history is not None:
        slots = game.generator if game.slots is None else game.slots
        if recall:
            refined = torch.cat([fresh, game.history.draw(past, slots)])
        game.history.push(fresh, slots)
    game.optimizer_discriminator.zero_grad(set_to_none=True)
    told = []
    pieces = (_parts(len(images), game.micro_batch) for images in (refined, real))
    for (rows, share), (rows_real, share_real) in zip(*pieces, strict=True):
        with game.precision():
            logits_refined, logits_real = game.discriminator(refined[rows]), game.discriminator(real[rows_real])
            loss = share * discriminator_refined(logits_refined) + share_real * discriminator_real(logits_real)
        loss.backward(inputs=list(game.discriminator.parameters()))
        right = share_real * (logits_real < 0).float().mean(), share * (logits_refined > 0).float().mean()
        told.append(torch.stack([loss.detach(), *right]))
    game.average_gradients(game.discriminator)
    game.optimizer_discriminator.step()
    return DiscriminatorUpdate(*torch.stack(told).sum(dim=0))


def _parts(count: int, size: int | None) -> Iterator[tuple[slice, float]]:
    """Micro-batches of a mini-batch: rows, and their share of it."""
    for rows in micro_batches(count, size):
        yield rows, (rows.stop - rows.start) / count


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
