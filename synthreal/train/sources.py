"""The data of a run, opened by role, and its mini-batches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.patch import random_patches
from synthreal.data.encoding import to_unit
from synthreal.data.fingerprint import digest
from synthreal.data.levels import Levels, measure_levels, nearly_constant, sample_size
from synthreal.data.pack import PLACES, Pack, PackOptions
from synthreal.data.pictures import PICTURES
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
FEW = 200
COMPARED_BYTES = 1 << 28  # of each set, in which equal images are searched
PART = 256  # images that are converted at once


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


def origin_warnings(config: ResolvedConfig, catalog: Catalog, role: Role) -> list[str]:
    """A warning if the images of a role come from another data set than the unlabelled real ones.

    Data sets of one name are the same if their folders are; of pictures, the labelled ones always lie in a folder of
    their own. Without folders, their switches and real-valued options must be equal; whole numbers and texts choose
    images, such as people.
    """
    (name, mine), (real, its) = (_origin(config, catalog, kind) for kind in (role, "real"))
    shared = mine.keys() & its.keys()
    if places := shared & PLACES:
        apart = {key for key in places if os.path.realpath(str(mine[key])) != os.path.realpath(str(its[key]))}
    else:
        apart = {key for key in shared if isinstance(mine[key], bool | float) and mine[key] != its[key]}
    if name == real and (not apart or name == PICTURES):
        return []
    found, other = (_described(*data_set, PLACES | apart) for data_set in ((name, mine), (real, its)))
    return [
        f"data.{role} is {found}, another data set than data.real, {other}: results on the one may "
        f"not hold for the other; set data.{role} to labelled images of data.real, or none"
    ]


def _origin(config: ResolvedConfig, catalog: Catalog, role: Role) -> tuple[str, Mapping[str, Any]]:
    """The name and options of the data set of a role; of a pack, those of the data set that it was made from."""
    _, options, source = dataset_of(config, catalog, role)
    if not isinstance(options, PackOptions):
        return source.name, source.options
    with Pack(options.path) as pack:
        return pack.name, pack.options


def _described(name: str, options: Mapping[str, Any], keys: Set[str]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in options.items() if key in keys)
    return f"{name} ({shown})" if shown else name


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


def reading_warnings(role: Role, source: Source) -> list[str]:
    """The unreadable files, of which the cached pack lists all, and the choice of ``count`` images if it left any out.

    The first three files are named.
    """
    if isinstance(source, SimulatorSource):
        return []
    found = []
    if skipped := source.skipped:
        shown = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3]) + "; ..." * (len(skipped) > 3)
        found.append(f"data.{role}: {len(skipped)} unreadable files skipped: {shown}")
    if source.total is not None and source.total > len(source):
        found.append(f"data.{role}: {len(source):,} of {source.total:,} images, chosen at random (seed 0)")
    return found


def source_levels(config: ResolvedConfig, role: Role, source: Source) -> Levels:
    """The levels of a random sample of a source's images."""
    sample = random_images(source, sample_size(config.image), seed=0)
    return measure_levels(role, config.image, sample.image)


def duplicate_warnings(simulated: Source, real: Source) -> list[str]:
    """Warnings about images that a set holds twice, and about real images that are simulated ones.

    Equal pixels are found, in 256 MiB of random images of each set. Nearly constant images, such as windows of a black
    background, are left out.
    """
    found: list[str] = []
    digests: list[set[bytes]] = []
    for role, source in (("simulated", simulated), ("real", real)):
        if not isinstance(source, SimulatorSource):
            size = first_images(source, 1).image.nbytes
            images = random_images(source, max(1, COMPARED_BYTES // size), seed=0).image
            plain = torch.cat([nearly_constant(to_unit(part)) for part in images.split(PART)])
            compared = images[~plain].cpu().numpy()
            digests.append({digest(image) for image in compared})
            repeated = len(compared) - len(digests[-1])
            if repeated and len(digests[-1]) > 1:  # if all are equal, the warnings about levels say so
                found.append(f"data.{role}: {repeated} of {len(images)} images are equal to others; remove them")
    if len(digests) == 2 and (same := len(set.intersection(*digests))):
        found.append(f"data.real: {same} images are also in data.simulated; keep them in one of the two")
    return found


def few_images_warnings(real: Source) -> list[str]:
    """A warning when there are so few real images that D can memorise them."""
    if isinstance(real, SimulatorSource) or len(real) >= FEW:
        return []
    return [f"few real images: {len(real)}; D can memorise them, give {FEW} or more"]


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
