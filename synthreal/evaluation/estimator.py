"""Training and testing one downstream estimator: the same budget whatever its images went through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synthreal.config import AugmentConfig, EvaluationConfig
from synthreal.core.augment import augmented
from synthreal.data.resident import Resident, prediction_batches
from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.spec import Batch, EvaluatorSpec, ImageSpec


def budget(config: EvaluationConfig) -> tuple[int, int]:
    """Steps an epoch and in all: ``epochs`` passes over nine tenths of ``images``, whatever an arm holds."""
    epoch = max(1, round(0.9 * config.images / config.batch))
    return epoch, epoch * config.epochs


def train(
    spec: EvaluatorSpec,
    options: Any,
    image: ImageSpec,
    data: Resident,
    config: EvaluationConfig,
    *,
    seed: int,
    autocast: torch.dtype | None,
    augment: AugmentConfig | None = None,
) -> nn.Module:
    """A fresh estimator trained on ``data``; the epoch with the lowest primary metric on its held-out tenth is kept.

    Args:
        spec: the task.
        options: its typed options.
        image: what its images are.
        data: images and labels, on the device to train on.
        config: the budget.
        seed: of weights, of the held-out tenth, of the order and of augmentation: equal for equal seeds in every arm.
        autocast: reduced precision, or None.
        augment: ordinary augmentation after the task's own, or None.
    """
    device = data.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = spec.build(options, image).to(device)
    order = torch.randperm(len(data), generator=derived_generator("cpu", 0, "held out", seed))
    held, kept = order[: max(1, len(data) // 10)], order[max(1, len(data) // 10) :]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    epoch_steps, total = budget(config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    augmentation = derived_generator(device, 0, "augment", seed)
    best, weights = math.inf, model.state_dict()
    walk = _walk(kept, config.batch, seed)
    for step in range(1, total + 1):
        model.train()
        batch = data.select(next(walk))
        if spec.augment is not None:
            batch = spec.augment(batch, augmentation)
        if augment is not None:
            batch = Batch(augmented(batch.image, augmentation, **augment.model_dump()), batch.labels)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            loss = spec.loss(model(batch.image), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % epoch_steps == 0:
            error = float(measure(spec, model, data, held)[spec.primary].mean())
            if error < best:
                best, weights = error, {name: value.clone() for name, value in model.state_dict().items()}
    if not math.isfinite(best):
        raise UserError(
            f"the estimator diverged: its {spec.primary} on held-out images is {best} in every epoch; "
            "lower evaluation.learning_rate"
        )
    model.load_state_dict(weights)
    return model.eval()


@torch.no_grad()
def measure(
    spec: EvaluatorSpec,
    model: nn.Module,
    data: Resident,
    indices: Tensor | None = None,
) -> Mapping[str, Tensor]:
    """Every metric of every image: name -> ``(N,)`` or ``(N, K)`` on the CPU, the last partial batch included.

    In float32 always: rounding the predictions to bfloat16 alone would cost a tenth of a degree.
    """
    model.eval()
    found: dict[str, list[Tensor]] = {}
    for chosen in prediction_batches(data, indices):
        batch = data.select(chosen)
        for name, values in spec.metrics(model(batch.image), batch.labels).items():
            found.setdefault(name, []).append(values.float().cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def constant_metrics(spec: EvaluatorSpec, train_labels: Mapping[str, Tensor], test: Resident) -> dict[str, float]:
    """The metrics of always answering the training set's mean label."""
    answer = (
        train_labels[spec.requires[0].name].float().mean(dim=0, keepdim=True)
        if spec.constant is None
        else spec.constant(train_labels)
    )
    labels = test.labels
    expanded = answer.expand(len(test), *answer.shape[1:]) if isinstance(answer, Tensor) else answer
    return {name: float(values.float().mean()) for name, values in spec.metrics(expanded, labels).items()}


def _walk(rows: Tensor, batch: int, seed: int) -> Any:
    """Endless batches of row numbers, every row once an epoch."""
    epoch, queue = 0, rows[:0]
    while True:
        while len(queue) < batch:
            generator = derived_generator("cpu", epoch, "order", seed)
            queue = torch.cat([queue, rows[torch.randperm(len(rows), generator=generator)]])
            epoch += 1
        yield queue[:batch]
        queue = queue[batch:]
