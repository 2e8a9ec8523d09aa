"""How long reading, training and monitoring take on this machine, and the schedule that fits into a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from synthreal.config import ResolvedConfig
from synthreal.core.game import update_discriminator, update_refiner
from synthreal.data.pictures import PicturesOptions, read_pictures
from synthreal.data.seed import derived_generator
from synthreal.device import autocast_dtype, configure_process, resolve_device, resolve_precision, set_memory_format
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.spec import Batch
from synthreal.train.build import build_game
from synthreal.train.monitor import QualityMonitor
from synthreal.train.preview import refine_preview
from synthreal.train.weight import EVERY, IMAGES, WeightControl

REPEATS = 3
READING_SECONDS = 1.0
SET_UP_SECONDS = 10.0  # of the program, the networks, packs and contact sheets
SHARE = 0.75  # of the time that is planned; the rest is for comparing, the page, and a machine that becomes slower
FEWEST, MOST = 100, 4000  # steps of the game
QUALITY_REPORTS = 6
REFINED_SIDE = 256  # px of the picture that is refined to measure the time of a pixel
# Steps before the game, as shares of its own and in numbers: R learns the identity, D the difference.
REFINER, DISCRIMINATOR = (1 / 5, 50, 200), (1 / 40, 10, 50)


@dataclass(frozen=True)
class Seconds:
    """Seconds of an update of R alone, of D alone, of a step of the game, of a quality report, of refining a pixel."""

    refiner: float
    discriminator: float
    game: float
    quality: float
    pixel: float


def reading_seconds(options: PicturesOptions) -> float:
    """Seconds to read a file of a data set with one window per file, measured on the first ones for a second."""
    pictures = read_pictures(options)  # lists the folder, which takes its time once
    start, files = time.perf_counter(), 0
    for files, _ in enumerate(pictures, 1):  # noqa: B007
        if time.perf_counter() - start > READING_SECONDS:
            break
    return (time.perf_counter() - start) / files


def training_seconds(config: ResolvedConfig, catalog: Catalog) -> Seconds:
    """Time updates of new networks on random images; the networks run uncompiled."""
    configure_process(config.runtime)
    device, schedule, image = resolve_device(config.runtime.device), config.schedule, config.image
    game = build_game(config.changed({"runtime": {"compile": False}}), catalog, device)
    height, width = (image.height, image.width) if schedule.patch is None else (schedule.patch, schedule.patch)
    generator = derived_generator(device, 0, "timing")

    def images(count: int, height: int, width: int) -> torch.Tensor:
        return torch.rand(count, image.channels, height, width, generator=generator, device=device)

    x, y = images(schedule.batch, height, width), images(schedule.batch, height, width)
    alone = _seconds(lambda: update_refiner(game, x, adversarial=False), device)
    refiner = _seconds(lambda: update_refiner(game, x, adversarial=True), device)
    discriminator = _seconds(lambda: update_discriminator(game, x, y), device)
    quality = 0.0
    if config.quality is not None:
        shown, real = (images(config.quality.images, image.height, image.width) for _ in range(2))
        monitor = QualityMonitor(config.quality, shown, real, None)
        quality = _seconds(lambda: monitor.measure(0, refine_preview(game, shown)), device, repeats=1)
    step = schedule.refiner_updates * refiner + schedule.discriminator_updates * discriminator
    if config.loss.weight == "auto":
        control = WeightControl(config.loss, images(IMAGES, image.height, image.width))
        step += _seconds(lambda: control.update(game), device, repeats=1) / EVERY
    large = images(1, REFINED_SIDE, REFINED_SIDE)
    pixel = _seconds(lambda: refine_preview(game, large), device) / REFINED_SIDE**2
    return Seconds(alone, discriminator, step, quality, pixel)


def estimator_seconds(config: ResolvedConfig, catalog: Catalog, labels: Mapping[str, torch.Tensor]) -> float:
    """Time training steps of the evaluator's estimator on a mini-batch of random images with ``labels``."""
    configure_process(config.runtime)
    device, component, image = resolve_device(config.runtime.device), config.evaluation.evaluator, config.image
    assert component is not None, "a run with labels has an evaluator"
    spec = catalog.evaluator(component.name)
    model = spec.build(parse_options(component, spec.options, "evaluation.evaluator"), image).to(device)
    set_memory_format(model, config.runtime.layout)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    generator, autocast = (
        derived_generator(device, 0, "timing"),
        autocast_dtype(resolve_precision(config.runtime.precision, device)),
    )
    size = (config.evaluation.batch, *image.shape)
    batch = Batch(
        torch.rand(size, generator=generator, device=device),
        {name: values.to(device) for name, values in labels.items()},
    )

    def step() -> None:
        augmented = batch if spec.augment is None else spec.augment(batch, generator)
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            loss = spec.loss(model(augmented.image), augmented.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return _seconds(step, device)


def steps_within(seconds: Seconds, available: float) -> dict[str, int]:
    """The steps of the three phases, as settings of ``schedule``, that take ``available`` seconds; 100 at least."""

    def before(share: tuple[float, int, int], steps: int) -> int:
        return max(share[1], min(share[2], int(share[0] * steps)))

    training = SHARE * (available - SET_UP_SECONDS) - (QUALITY_REPORTS + 1) * seconds.quality
    steps = MOST
    while True:
        phases = before(REFINER, steps), before(DISCRIMINATOR, steps), steps
        schedule = dict(zip(("refiner_steps", "discriminator_steps", "steps"), phases, strict=True))
        if steps == FEWEST or training_time(seconds, schedule) <= training:
            return schedule
        steps = max(FEWEST, steps - max(1, steps // 50))


def training_time(seconds: Seconds, schedule: dict[str, int]) -> float:
    """Seconds of the steps of a schedule."""
    each = {"refiner_steps": seconds.refiner, "discriminator_steps": seconds.discriminator, "steps": seconds.game}
    return sum(each[name] * count for name, count in schedule.items())


def _seconds(run: Callable[[], object], device: torch.device, *, repeats: int = REPEATS) -> float:
    """The mean seconds of a call; several are timed after a first one, which takes longer."""
    if repeats > 1:
        run()
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
