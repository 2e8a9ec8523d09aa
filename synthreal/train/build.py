"""Building the game of a configuration: networks, psi, optimizers, history and generators."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthreal.config import AdamConfig, ResolvedConfig, SGDConfig
from synthreal.core.game import Game
from synthreal.core.history import History
from synthreal.data.seed import derived_generator
from synthreal.device import (
    autocast_dtype,
    resolve_micro_batch,
    resolve_precision,
    seeded_generator,
    set_memory_format,
    should_compile,
)
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.hooks.catalog import Catalog


def build_game(
    config: ResolvedConfig, catalog: Catalog, device: torch.device, processes: Processes = SINGLE_PROCESS
) -> Game:
    """New networks (weights from ``runtime.seed``), optimizers, history and generator.

    With several processes, each holds its share of the history, so that images stay in it as long as with one process.
    """
    image, runtime, patch = config.image, config.runtime, config.schedule.patch
    if patch is not None:
        image = replace(image, height=patch, width=patch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed)
        refiner = catalog.build_network("refiner", config.refiner, image).to(device)
        discriminator = catalog.build_network("discriminator", config.discriminator, image).to(device)
        features = [(catalog.build_feature(term, image).to(device), term.weight) for term in config.features]
    processes.broadcast_parameters((refiner, discriminator))
    compiled = should_compile(runtime.compile, device, config.schedule.total)
    for network in (refiner, discriminator):
        set_memory_format(network, runtime.layout, compiled=compiled)
    ema, settings = config.optimizer.ema, config.history
    history = None
    if settings is not None:
        history = History(settings.size // processes.size, image.shape, dtype=settings.dtype, device=device)
    return Game(
        refiner=refiner,
        discriminator=discriminator,
        features=features,
        loss=config.loss,
        optimizer_refiner=optimizer(refiner, config.optimizer.refiner),
        optimizer_discriminator=optimizer(discriminator, config.optimizer.discriminator),
        generator=seeded_generator(runtime.seed, device),
        history=history,
        average=None if ema is None else AveragedModel(refiner, multi_avg_fn=get_ema_multi_avg_fn(ema)),
        autocast=autocast_dtype(resolve_precision(runtime.precision, device)),
        micro_batch=resolve_micro_batch(
            runtime.micro_batch, device, image.height, image.width, batch=config.schedule.batch
        ),
        processes=processes,
        slots=None if processes.size == 1 else derived_generator(device, processes.rank, "history", runtime.seed),
    )


def optimizer(network: nn.Module, config: SGDConfig | AdamConfig) -> torch.optim.Optimizer:
    """SGD or Adam for a network's parameters."""
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2))
