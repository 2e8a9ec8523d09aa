"""The two-player game: the state of both networks, and the two updates of Algorithm 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from synthreal.config import LossConfig
from synthreal.core.history import History
from synthreal.core.losses import discriminator_real, discriminator_refined, refiner_adversarial, self_regularization
from synthreal.core.refiner import equal_slices, noise_for, refine, refine_with
from synthreal.distributed.processes import SINGLE_PROCESS, Processes


@dataclass
class Game:
    """Everything that the updates change.

    Attributes:
        refiner: R.
        discriminator: D; a logit > 0 means refined.
        features: pairs of psi and weight.
        loss: the weights of the terms of R's loss; of lambda the rule.
        weight: lambda as it is.
        drift_px: the 95th percentile of the last displacement that lambda was adapted to; None if there is none.
        optimizer_refiner: of R.
        optimizer_discriminator: of D.
        generator: draws noise maps and, with one process, slots of the history; on the networks' device.
        history: past refined images, or None (ablation).
        average: exponential moving average of R's weights, or None.
        autocast: reduced precision of the networks' arithmetic, or None for float32.
        micro_batch: images that pass through the networks at once, with gradient accumulation; None for no limit.
        processes: the processes of the run. ``generator`` is in the same state on each; each has its own ``history``.
        slots: draws slots of the history when there are several processes, differently on each; else None.
    """

    refiner: nn.Module
    discriminator: nn.Module
    features: Sequence[tuple[nn.Module, float]]
    loss: LossConfig
    optimizer_refiner: torch.optim.Optimizer
    optimizer_discriminator: torch.optim.Optimizer
    generator: torch.Generator
    history: History | None = None
    average: AveragedModel | None = None
    autocast: torch.dtype | None = None
    micro_batch: int | None = None
    processes: Processes = SINGLE_PROCESS
    slots: torch.Generator | None = None
    weight: float = field(init=False)
    drift_px: float | None = None

    def __post_init__(self) -> None:
        self.weight = self.loss.initial_weight if self.loss.weight == "auto" else self.loss.weight

    def precision(self) -> torch.autocast:
        """The autocast context of the networks."""
        return torch.autocast(self.generator.device.type, dtype=self.autocast, enabled=self.autocast is not None)

    def averaged(self) -> nn.Module:
        """The refiner for users: the averaged one if there is one, else R."""
        module: nn.Module = self.refiner if self.average is None else self.average.module
        return module

    def diverged(self) -> list[str]:
        """The networks that have a NaN or infinite weight."""
        networks = {"weights of the refiner": self.refiner, "weights of the discriminator": self.discriminator}
        return [
            name
            for name, network in networks.items()
            if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
        ]

    def noise(self, images: Tensor) -> Tensor | None:
        """Noise maps for R, this process's share of those of the mini-batch; None if R takes none."""
        return noise_for(self.refiner, images, self.generator, rank=self.processes.rank, size=self.processes.size)

    def average_gradients(self, network: nn.Module) -> None:
        """Average the gradients of a network, and the running statistics of both, over all processes."""
        if self.processes.size == 1:
            return
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        statistics = (*self.refiner.buffers(), *self.discriminator.buffers())
        self.processes.all_reduce_mean(
            [parameter.grad for parameter in trained if parameter.grad is not None]
            + [buffer for buffer in statistics if buffer.is_floating_point()]
        )


@dataclass(frozen=True)
class RefinerUpdate:
    """Scalars on the device: the losses of one update of R, and mean |R(x) - x|."""

    adversarial: Tensor | None
    regularization: Tensor
    change: Tensor


@dataclass(frozen=True)
class DiscriminatorUpdate:
    """Scalars on the device: the loss of one update of D, and the share of patches it classifies correctly."""

    loss: Tensor
    accuracy_real: Tensor
    accuracy_refined: Tensor


def update_refiner(game: Game, simulated: Tensor, *, adversarial: bool) -> RefinerUpdate:
    """One update of R on Eq. 4 with D frozen; without ``adversarial``, on self-regularization alone.

    Args:
        game: the state; R, its optimizer, its average and the generator change.
        simulated: x, ``(b, C, H, W)`` in [0, 1]; with several processes, the share of this one.
        adversarial: include the adversarial loss.
    """
    noise = game.noise(simulated)
    game.optimizer_refiner.zero_grad(set_to_none=True)
    scalars = []
    for rows, share in _micro_batches(len(simulated), game.micro_batch):
        x = simulated[rows]
        with game.precision():
            refined = refine_with(game.refiner, x, None if noise is None else noise[rows])
            fooling = refiner_adversarial(game.discriminator(refined)) if adversarial else None
        regularization = self_regularization(refined, x, game.features)
        loss = regularization if fooling is None else fooling + game.weight * regularization
        (share * loss).backward(inputs=list(game.refiner.parameters()))
        change = (refined.detach() - x).abs().mean()
        scalars.append(
            share * torch.stack([regularization if fooling is None else fooling, regularization, change]).detach()
        )
    game.average_gradients(game.refiner)
    game.optimizer_refiner.step()
    if game.average is not None:
        _update_average(game.average, game.refiner)
    adversarial_loss, regularization_loss, mean_change = torch.stack(scalars).sum(dim=0)
    return RefinerUpdate(adversarial_loss if adversarial else None, regularization_loss, mean_change)


def update_discriminator(game: Game, simulated: Tensor, real: Tensor) -> DiscriminatorUpdate:
    """One update of D on Eq. 2 with R frozen: b refined images (half new, half from the history) against b real ones.

    Args:
        game: the state; D, its optimizer, the history and the generator change.
        simulated: x, ``(b, C, H, W)`` in [0, 1]; once the history holds b/2 images, only the first half is refined.
        real: y, ``(b, C, H, W)`` in [0, 1].
    """
    past = simulated.shape[0] // 2
    half = simulated.shape[0] - past
    recall = game.history is not None and len(game.history) >= past
    x = simulated[:half] if recall else simulated
    with torch.no_grad(), game.precision():
        refined = refine(game.refiner, x, game.generator, noise=game.noise(x), micro_batch=game.micro_batch)
    fresh = refined[:half]
    if game.history is not None:
        slots = game.generator if game.slots is None else game.slots
        if recall:
            refined = torch.cat([fresh, game.history.draw(past, slots)])
        game.history.push(fresh, slots)
    game.optimizer_discriminator.zero_grad(set_to_none=True)
    scalars = []
    both = (_micro_batches(len(images), game.micro_batch) for images in (refined, real))
    for (rows, share), (rows_real, share_real) in zip(*both, strict=True):
        with game.precision():
            logits_refined, logits_real = game.discriminator(refined[rows]), game.discriminator(real[rows_real])
            loss = share * discriminator_refined(logits_refined) + share_real * discriminator_real(logits_real)
        loss.backward(inputs=list(game.discriminator.parameters()))
        correct = share_real * (logits_real < 0).float().mean(), share * (logits_refined > 0).float().mean()
        scalars.append(torch.stack([loss.detach(), *correct]))
    game.average_gradients(game.discriminator)
    game.optimizer_discriminator.step()
    return DiscriminatorUpdate(*torch.stack(scalars).sum(dim=0))


def _micro_batches(count: int, size: int | None) -> Iterator[tuple[slice, float]]:
    """The micro-batches of a mini-batch: rows, and their share of it."""
    for rows in equal_slices(count, size):
        yield rows, (rows.stop - rows.start) / count


@torch.no_grad()
def _update_average(average: AveragedModel, refiner: nn.Module) -> None:
    """One step of the moving average, without torch's copy of its counter, which would synchronize with the device."""
    if average.multi_avg_fn is None or average.n_averaged == 0:
        average.update_parameters(refiner)
        return
    average.multi_avg_fn(list(average.module.parameters()), list(refiner.parameters()), average.n_averaged)
    for ours, theirs in zip(average.module.buffers(), refiner.buffers(), strict=True):
        ours.copy_(theirs)
    average.n_averaged += 1
