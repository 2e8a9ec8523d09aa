"""Training: ``steps`` is the loop, a generator that reads as Algorithm 1; ``fit`` drives it to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from synthreal.atomic import writing
from synthreal.config import AdamConfig, RunConfig, ScheduleConfig, SGDConfig
from synthreal.core.game import Game, update_discriminator, update_refiner
from synthreal.core.history import History
from synthreal.core.machine import (
    arrange,
    autocast_of,
    compiles,
    device_of,
    eagerly,
    generator_of,
    micro_batch_of,
    precision_of,
    settle,
)
from synthreal.core.patch import random_patches
from synthreal.core.refiner import refine
from synthreal.data.encoding import to_unit
from synthreal.data.source import Source
from synthreal.data.stream import Stream
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, typed
from synthreal.hooks.resolve import resolve
from synthreal.run import checkpoint
from synthreal.run.directory import changed_versions, claim, versions_of
from synthreal.run.interrupt import stop_signals
from synthreal.run.quality.realism import SIDE
from synthreal.run.rehearse import rehearse
from synthreal.run.report import Meter, Report, append_log, not_finite, trim_log
from synthreal.run.sheet import save_sheet
from synthreal.run.sources import open_stream, sample, unreadable
from synthreal.run.watch import Watch, few
from synthreal.spec import Batch
from synthreal.transform import write_config, write_refiner

SHEET = 10


def steps(
    config: RunConfig,
    catalog: Catalog,
    run_dir: str | Path,
    *,
    resume: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train, yielding a report now and then; ONE step counter runs through the phases refiner, discriminator, game.

    Args:
        config: the run; it is resolved against the catalog first.
        catalog: where its names are looked up.
        run_dir: the run directory; made here.
        resume: continue the run it holds, bit-identically on the CPU.
        stopped: asked after every step; True saves and ends.

    Raises:
        UserError: bad input, told before step 0 wherever possible, or a loss that is not finite.
    """
    config, run_dir = resolve(config, catalog), Path(run_dir)
    schedule, device = config.schedule, device_of(config.runtime.device)
    precision = precision_of(config.runtime.precision, device)
    settle(config.runtime)
    state = checkpoint.load(run_dir) if resume else None
    with ExitStack() as stack:
        stack.enter_context(claim(run_dir, config, precision=precision, state=state))
        game = build_game(config, catalog, device)
        simulated, real = (
            stack.enter_context(open_stream(config, catalog, role, device=device, run_dir=run_dir))
            for role in ("simulated", "real")
        )
        if resume:
            noted = changed_versions(run_dir, catalog)
        else:
            noted = unreadable("simulated", simulated.source) + unreadable("real", real.source)
            noted += few(real.source) if config.quality is not None else []
        if state is None:
            rehearse(game, config, catalog, simulated.batch(0))
        write_config(run_dir, config, versions_of(catalog))
        step, seen = 0, {"simulated": 0, "real": 0}
        watch = watching(config, catalog, simulated.source, real.source)
        if state is not None:
            checkpoint.restore(game, state)
            step, seen = state["step"], dict(state["seen"])
            if watch is not None and state["watch"] is not None:
                watch.load_state_dict(state["watch"])
        trim_log(run_dir, step)

        def draw(stream: Stream, name: str) -> torch.Tensor:
            seen[name] += 1
            batch: Batch = stream.batch(seen[name] - 1)
            if schedule.patch is None:
                return batch.image
            return random_patches(batch.image, schedule.patch, game.generator)

        def save() -> None:
            refuse(diverged(game))
            # weights first: killed in between, a resumed run does this step again and writes both
            if watch is None or watch.config.keep == "last" or watch.best_step in (0, step):
                write_refiner(run_dir, game.averaged(), step=step, kind="raw" if game.average is None else "ema")
            looked = None if watch is None else watch.state_dict()
            kept = {"seen": seen, "precision": precision, "config": config.to_toml(), "watch": looked}
            checkpoint.save(run_dir, step, {**checkpoint.state_of(game), **kept})

        def refuse(broken: list[str]) -> None:
            if broken:
                raise UserError(
                    f"{run_dir}: step {step}: {', '.join(broken)} not finite; lower optimizer.*.learning_rate "
                    "(checkpoints saved before are whole)"
                )

        meter = Meter()
        while step < schedule.total and not (watch is not None and watch.exhausted):
            phase = phase_of(schedule, step)
            if phase == "refiner":
                meter.refiner(update_refiner(game, draw(simulated, "simulated"), adversarial=False), schedule.batch)
            if phase == "game":
                for _ in range(schedule.refiner_updates):
                    meter.refiner(update_refiner(game, draw(simulated, "simulated"), adversarial=True), schedule.batch)
            if phase != "refiner":
                for _ in range(schedule.discriminator_updates if phase == "game" else 1):
                    images = draw(simulated, "simulated"), draw(real, "real")
                    meter.discriminator(update_discriminator(game, *images), schedule.batch)
            step += 1
            played = step - schedule.total + schedule.steps
            look = None
            if watch is not None and phase == "game" and (played % watch.config.every == 0 or step == schedule.total):
                look = watch.look(step, painted(game, watch.simulated))
                noted = [*noted, *watch.warnings(look)]
                watch.write(run_dir)
            last = step == schedule.total or (watch is not None and watch.exhausted)
            stopping = stopped()
            turn = phase_of(schedule, step) != phase
            report = None
            if step % schedule.report_every == 0 or turn or last or stopping or look is not None:
                report = meter.report(step, phase, settled=phase == "game" and 4 * played >= schedule.steps)
                report, noted = replace(report, quality=look, warnings=(*noted, *report.warnings)), []
                refuse(not_finite(report))
                append_log(run_dir, report)
            if step % schedule.sheet_every == 0 or last:
                sheet(game, simulated, real, run_dir / "sheets" / f"step-{step:08d}.png", config)
            best = watch is not None and watch.best_step == step
            if step % schedule.save_every == 0 or last or stopping or best:
                save()
            if report is not None:
                yield report
            if stopping:
                return


def fit(
    config: RunConfig,
    catalog: Catalog,
    run_dir: str | Path,
    *,
    resume: bool = False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Report | None:
    """Drive :func:`steps` to its end and return the last report, None when a resumed run was already complete.

    Raises:
        KeyboardInterrupt: the first Ctrl-C (or SIGTERM), after the state has been saved at a step boundary.
    """
    last = None
    with stop_signals() as stopped:
        for last in steps(config, catalog, run_dir, resume=resume, stopped=stopped.is_set):
            on_report(last)
    if stopped.is_set() and (last is None or last.step < config.schedule.total):
        raise KeyboardInterrupt
    return last


def phase_of(schedule: ScheduleConfig, step: int) -> str:
    """What the step with this index does: "refiner", "discriminator" or "game"."""
    if step < schedule.refiner_steps:
        return "refiner"
    return "discriminator" if step < schedule.refiner_steps + schedule.discriminator_steps else "game"


def build_game(config: RunConfig, catalog: Catalog, device: torch.device) -> Game:
    """Fresh networks (weights from ``runtime.seed``), optimizers, history and generator of a resolved configuration."""
    image, runtime, patch = config.image, config.runtime, config.schedule.patch
    assert image is not None, "resolve() sets the image"
    if patch is not None:
        image = replace(image, height=patch, width=patch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed)
        refiner = catalog.build_network("refiner", config.refiner, image).to(device)
        discriminator = catalog.build_network("discriminator", config.discriminator, image).to(device)
        features = [
            (
                catalog.feature(term.name)
                .build(typed(term, catalog.feature(term.name).options, f"features.{term.name}"), image)
                .to(device),
                term.weight,
            )
            for term in config.features
        ]
    compiled = compiles(runtime.compile, device, config.schedule.total)
    for network in (refiner, discriminator):
        arrange(network, runtime.layout, compiled=compiled)
    ema, history = config.optimizer.ema, config.history
    return Game(
        refiner=refiner,
        discriminator=discriminator,
        features=features,
        weight=config.loss.weight,
        optimizer_refiner=optimizer(refiner, config.optimizer.refiner),
        optimizer_discriminator=optimizer(discriminator, config.optimizer.discriminator),
        generator=generator_of(runtime.seed, device),
        history=None if history is None else History(history.size, image.shape, dtype=history.dtype, device=device),
        average=None if ema is None else AveragedModel(refiner, multi_avg_fn=get_ema_multi_avg_fn(ema)),
        autocast=autocast_of(precision_of(runtime.precision, device)),
        micro_batch=micro_batch_of(runtime.micro_batch, device, image.height, image.width),
    )


def diverged(game: Game) -> list[str]:
    """Which of the two networks has a weight that is NaN or infinite."""
    networks = {"weights of the refiner": game.refiner, "weights of the discriminator": game.discriminator}
    return [
        name
        for name, network in networks.items()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
    ]


def optimizer(network: nn.Module, config: SGDConfig | AdamConfig) -> torch.optim.Optimizer:
    """SGD or Adam over a network's parameters."""
    if isinstance(config, SGDConfig):
        return torch.optim.SGD(network.parameters(), lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2))


def watching(config: RunConfig, catalog: Catalog, simulated: Source, real: Source) -> Watch | None:
    """What looks at quality during the game, at random images of both kinds; None where it is off."""
    if config.quality is None:
        return None
    assert config.image is not None, "resolve() sets the image"
    if min(config.image.height, config.image.width) < SIDE:
        raise UserError(f"quality: images of {config.image} are too small to look at ({SIDE} px); set quality=none")
    x, y = (to_unit(sample(source, config.quality.images, seed=0).image) for source in (simulated, real))
    if min(len(x), len(y)) < 2:
        raise UserError("quality: a single image cannot be looked at; give more, or set quality=none")
    evaluator = config.evaluation.evaluator
    return Watch(config.quality, x, y, None if evaluator is None else catalog.evaluator(evaluator.name).locate)


@torch.no_grad()
def painted(game: Game, images: torch.Tensor) -> torch.Tensor:
    """R(x) as refine and evaluate will give it, ``(N, C, H, W)``; the game's generator is left alone."""
    refiner = game.averaged()
    training = refiner.training
    refiner.eval()
    with eagerly(refiner), game.precision():
        refined = refine(refiner, images, generator_of(0, images.device), micro_batch=game.micro_batch)
    refiner.train(training)
    return refined.float()


def sheet(game: Game, simulated: Stream, real: Stream, path: Path, config: RunConfig) -> None:
    """Save simulated | refined | real for the same first images every time."""
    assert config.image is not None, "resolve() sets the image"
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
    x = simulated.batch(0).image[:SHEET]
    rows = [("simulated", x), ("refined", painted(game, x)), ("real", real.batch(0).image[:SHEET])]
    save_sheet(path, rows, colormap=config.image.colormap)
