"""Training and testing one downstream estimator, with the same budget for every training set.

The network has ``runtime.layout`` and trains in ``runtime.precision``, like the refiner. 2026-11-29, one core with
AVX512-BF16: a training step of ``gaze`` takes 33 ms in channels_last and 63 in channels_first (float32: 53 and 76), one
of ``hands`` 121 and 191 (float32: 164 and 260); the fused Adam is 4 % of it. See ``benchmarks/bench_estimator.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from synthreal.config import AugmentConfig, EvaluationConfig, ResolvedConfig
from synthreal.core.augment import augment_images
from synthreal.data.resident import Resident, prediction_batches
from synthreal.data.seed import derive_seed, derived_generator
from synthreal.device import autocast_dtype, resolve_precision, set_memory_format
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, parse_options, versions_of
from synthreal.spec import Batch, EvaluatorSpec, ImageSpec


@dataclass(frozen=True)
class Task:
    """The estimator of a run and how it is trained: everything but the data and the seed.

    ``precision`` ("float32" or "bfloat16") is that of training, see :func:`measure`; ``layout`` is "channels_last" or
    "channels_first"; ``versions`` are those of synthreal, torch and the plugins.
    """

    spec: EvaluatorSpec
    options: Any
    image: ImageSpec
    budget: EvaluationConfig
    precision: str = "float32"
    layout: str = "channels_last"
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: ResolvedConfig, catalog: Catalog, device: torch.device) -> Task:
        """The task of a resolved configuration. Raises ``UserError`` if it names no evaluator."""
        component = config.evaluation.evaluator
        if component is None:
            raise UserError("evaluation.evaluator is none in this run; fit one whose recipe names an evaluator")
        spec = catalog.evaluator(component.name)
        options = parse_options(component, spec.options, "evaluation.evaluator")
        precision = resolve_precision(config.runtime.precision, device)
        budget, layout, versions = config.evaluation, config.runtime.layout, versions_of(catalog)
        return cls(spec, options, config.image, budget, precision, layout, versions)

    def build(self, device: torch.device, seed: int = 0) -> nn.Module:
        """A new network whose weights depend on the seed; the global random state does not change."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.spec.build(self.options, self.image).to(device)
        set_memory_format(model, self.layout)
        return model

    @property
    def steps(self) -> tuple[int, int]:
        """Training steps of an epoch and in total; an epoch is nine tenths of ``budget.images`` for every arm."""
        epoch = max(1, round(0.9 * self.budget.images / self.budget.batch))
        return epoch, epoch * self.budget.epochs


def train(
    task: Task,
    data: Resident,
    *,
    seed: int,
    augment: AugmentConfig | None = None,
    versions: int = 1,
    photographs: Resident | None = None,
) -> nn.Module:
    """Train a new estimator; the epoch with the lowest primary metric on a held-out tenth of the data is returned.

    Args:
        task: the estimator and its budget.
        data: at least two images with labels, on the device to train on.
        seed: decides the weights, the held-out tenth, the order, the augmentation and dropout, equally for every arm;
            the global random state does not change.
        augment: augmentation applied after the evaluator's own, or None.
        versions: N x ``versions`` images are N images in that many versions, first all N in one, then all N in the
            next; an image is held out in all of them.
        photographs: labelled real images, of which every epoch holds as many as of the data; none is held out.

    Raises:
        UserError: the loss diverged.
    """
    device, spec = data.device, task.spec
    model = task.build(device, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.budget.learning_rate, fused=True)
    epoch_steps, total = task.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate_share, total=total))
    autocast = autocast_dtype(task.precision)
    order = torch.randperm(len(data) // versions, generator=derived_generator("cpu", 0, "held out", seed))
    parts = order.tensor_split([max(1, len(order) // 10)])
    held_out, rows = ((part + len(order) * torch.arange(versions)[:, None]).flatten() for part in parts)
    if photographs is not None:
        rows = torch.cat([rows, len(data) + torch.arange(len(rows)) % len(photographs)])
        labels = {name: torch.cat([data.labels[name], values]) for name, values in photographs.labels.items()}
        data = Resident(torch.cat([data.image, photographs.image]), labels)
    batches = _batches(rows, task.budget.batch, seed)
    generator = derived_generator(device, 0, "augment", seed)
    best, weights = math.inf, model.state_dict()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(0, "dropout", seed))
        for step in range(1, total + 1):
            model.train()
            batch = data.select(next(batches))
            if spec.augment is not None:
                batch = spec.augment(batch, generator)
            if augment is not None:
                batch = Batch(augment_images(batch.image, generator, **augment.model_dump()), batch.labels)
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                loss = spec.loss(model(batch.image), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % epoch_steps == 0:
                error = float(measure(spec, model, data, held_out)[spec.primary].mean())
                if error < best:
                    best, weights = error, {name: value.clone() for name, value in model.state_dict().items()}
    if not math.isfinite(best):
        failed = f"its {spec.primary} on held-out images is {best} in every epoch"
        raise UserError(f"the estimator diverged: {failed}; lower evaluation.learning_rate")
    model.load_state_dict(weights)
    return model.eval()


def learning_rate_share(step: int, total: int) -> float:
    """The share of the learning rate at a step: a linear warm-up over the first tenth, times half a cosine to 0."""
    return min(1.0, (step + 1) / max(1, total // 10)) * (1 + math.cos(math.pi * step / total)) / 2


@torch.no_grad()
def measure(spec: EvaluatorSpec, model: nn.Module, data: Resident, rows: Tensor | None = None) -> dict[str, Tensor]:
    """Every metric of every image (of ``rows``), name -> ``(N,)`` or ``(N, K)`` on the CPU, in float32.

    Rounding the predictions to bfloat16 would cost a tenth of a degree.
    """
    model.eval()
    found: dict[str, list[Tensor]] = {}
    for indices in prediction_batches(data, rows):
        batch = data.select(indices)
        for name, values in spec.metrics(model(batch.image), batch.labels).items():
            found.setdefault(name, []).append(values.float().cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def constant_metrics(spec: EvaluatorSpec, train_labels: Mapping[str, Tensor], test: Resident) -> dict[str, float]:
    """The metrics of a constant prediction: the evaluator's own, or the mean label of the training set."""
    mean = train_labels[spec.requires[0].name].float().mean(dim=0, keepdim=True)
    constant = mean if spec.constant is None else spec.constant(train_labels)
    if isinstance(constant, Tensor):
        constant = constant.expand(len(test), *constant.shape[1:])
    return {name: float(values.float().mean()) for name, values in spec.metrics(constant, test.labels).items()}


def _batches(rows: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of row numbers; every epoch holds every row once, in an order of its own."""
    queue = rows[:0]
    for epoch in count():
        generator = derived_generator("cpu", epoch, "order", seed)
        queue = torch.cat([queue, rows[torch.randperm(len(rows), generator=generator)]])
        while len(queue) >= batch:
            yield queue[:batch]
            queue = queue[batch:]
