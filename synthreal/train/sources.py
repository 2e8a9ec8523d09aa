"""The data of a run, opened by role, and its mini-batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.patch import random_patches
from synthreal.data.levels import Levels, measure_levels, sample_size
from synthreal.data.pack import PackOptions
from synthreal.data.resident import Resident
from synthreal.data.seed import derive_seed, derived_generator
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import Source, default_budget, is_cached, open_source
from synthreal.data.stream import Stream
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import dataset_of
from synthreal.spec import Role

Kind = Literal["simulated", "real"]

CACHE = "data"


def open_data(
    config: ResolvedConfig,
    catalog: Catalog,
    role: Role,
    *,
    device: torch.device,
    run_dir: Path,
    processes: Processes = SINGLE_PROCESS,
) -> Source:
    """Open the data set of a role; files are read once, into a pack in ``run_dir/data``.

    A simulator without a count depends on ``runtime.seed``; a counted data set is the same for every seed. The
    processes of a machine share its memory.
    """
    spec, options, source = dataset_of(config, catalog, role)
    limit = config.runtime.resident_gib
    budget = None if limit is None else int(limit * 2**30)
    if budget is None and device.type == "cpu" and processes.size > 1:
        budget = default_budget(device) // processes.local_size
    return open_source(
        spec,
        options,
        image=config.image,
        count=source.count,
        seed=config.runtime.seed if source.count is None else 0,
        device=device,
        cache=run_dir / CACHE,
        budget_bytes=budget,
    )


def reads_files(config: ResolvedConfig, catalog: Catalog, role: Role) -> bool:
    """Whether opening a role may write a pack into the run directory."""
    spec, options, _ = dataset_of(config, catalog, role)
    return spec.render is None and not isinstance(options, PackOptions)


def is_inside(config: ResolvedConfig, catalog: Catalog, role: Role, run_dir: Path) -> bool:
    """Whether the images of a role come from a simulator, or from a pack below ``run_dir`` that need not be written."""
    spec, options, _ = dataset_of(config, catalog, role)
    if spec.render is not None:
        return True
    is_pack = isinstance(options, PackOptions)
    path = Path(options.path) if is_pack else run_dir / CACHE / f"{role}.h5"
    inside = path.resolve().is_relative_to(run_dir.resolve())
    return inside and (is_pack or is_cached(path, spec, options, config.image))


def open_stream(
    config: ResolvedConfig,
    catalog: Catalog,
    role: Role,
    *,
    device: torch.device,
    run_dir: str | Path,
    processes: Processes = SINGLE_PROCESS,
) -> Stream:
    """Endless mini-batches of ``schedule.batch`` images of a role, in the order that ``runtime.seed`` gives.

    With several processes, each gets its share of every mini-batch. Close the stream or use it as a context manager: a
    pack too large for the device is read by a thread.
    """
    return Stream(
        open_data(config, catalog, role, device=device, run_dir=Path(run_dir), processes=processes),
        batch_size=config.schedule.batch // processes.size,
        seed=derive_seed(config.runtime.seed, role),
        device=device,
        rank=processes.rank,
        world_size=processes.size,
    )


class DataFeed:
    """Mini-batches in the order that ``runtime.seed`` gives.

    Attributes:
        streams: by kind.
        seen: number of mini-batches taken, by kind; a checkpoint stores it.
    """

    def __init__(self, streams: Mapping[Kind, Stream], game: Game, patch: int | None) -> None:
        self.streams, self.seen = streams, dict.fromkeys(streams, 0)
        self._game, self._patch = game, patch

    def take(self, kind: Kind) -> Tensor:
        """The next images ``(b, C, H, W)`` in [0, 1], or random crops ``(b, C, patch, patch)``."""
        images = self.streams[kind].batch(self.seen[kind]).image
        self.seen[kind] += 1
        if self._patch is None:
            return images
        processes = self._game.processes
        return random_patches(images, self._patch, self._game.generator, rank=processes.rank, size=processes.size)

    def check_drawn(self) -> None:
        """Raise ``UserError`` if a simulator has returned a pixel outside [0, 1]; waits for the device."""
        for stream in self.streams.values():
            if isinstance(stream.source, SimulatorSource):
                stream.source.check_drawn()


@contextmanager
def open_feed(config: ResolvedConfig, catalog: Catalog, game: Game, run_dir: Path) -> Iterator[DataFeed]:
    """Open both streams; rank 0 first where files are converted to a pack in the run directory."""
    processes, device = game.processes, game.generator.device
    kinds: tuple[Kind, Kind] = ("simulated", "real")
    with ExitStack() as stack:
        streams: dict[Kind, Stream] = {}
        for kind in kinds:
            with processes.main_first() if reads_files(config, catalog, kind) else nullcontext():
                stream = open_stream(config, catalog, kind, device=device, run_dir=run_dir, processes=processes)
            streams[kind] = stack.enter_context(stream)
        yield DataFeed(streams, game, config.schedule.patch)


def source_levels(config: ResolvedConfig, role: Role, source: Source) -> Levels:
    """The levels of a random sample of a source's images."""
    sample = random_images(source, sample_size(config.image), seed=0)
    return measure_levels(role, config.image, sample.image)


def first_images(source: Source, count: int) -> Resident:
    """The first ``count`` images of a source, on the device; all of them if it holds fewer."""
    return source.to_resident(count) if isinstance(source, SimulatorSource) else source.first(count)


def random_images(source: Source, count: int, *, seed: int) -> Resident:
    """``count`` random images of a source without labels, on the device; all of them if it holds fewer.

    They are drawn in random order from the whole source, because readers yield one person after another. For a
    simulator without a count they are its first images, which are random already.
    """
    if isinstance(source, SimulatorSource):
        return Resident(source.to_resident(count).image)
    rows = torch.randperm(len(source), generator=derived_generator("cpu", 0, "sample", seed))[:count]
    if isinstance(source, Resident):
        return Resident(source.image[rows.to(source.device)])
    return Resident(source.fetch(rows).image.to(source.device))
