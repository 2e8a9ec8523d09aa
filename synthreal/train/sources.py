"""The data of a run, opened by role."""

from __future__ import annotations

from pathlib import Path

import torch

from synthreal.config import RunConfig
from synthreal.data.pack import PackOptions
from synthreal.data.seed import derive_seed, derived_generator
from synthreal.data.source import Resident, SimulatorSource, Source, default_budget, open_source
from synthreal.data.stream import Stream
from synthreal.distributed.processes import SINGLE_PROCESS, Processes
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import dataset_of
from synthreal.spec import Role

CACHE = "data"
FEW = 200


def open_role(
    config: RunConfig,
    catalog: Catalog,
    role: Role,
    *,
    device: torch.device,
    run_dir: Path,
    processes: Processes = SINGLE_PROCESS,
) -> Source:
    """The source a resolved configuration names in a role; files are read once into ``run_dir/data``.

    What is drawn without end depends on ``runtime.seed``; a counted data set is the same for every seed. The processes
    of one machine share its memory.
    """
    spec, options, source = dataset_of(config, catalog, role)
    assert config.image is not None, "resolve() sets the image"
    asked = config.runtime.resident_gib
    budget = None if asked is None else int(asked * 2**30)
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


def caches(config: RunConfig, catalog: Catalog, role: Role) -> bool:
    """Whether opening a role may write a pack into the run directory."""
    spec, options, _ = dataset_of(config, catalog, role)
    return spec.render is None and not isinstance(options, PackOptions)


def open_stream(
    config: RunConfig,
    catalog: Catalog,
    role: Role,
    *,
    device: torch.device,
    run_dir: str | Path,
    processes: Processes = SINGLE_PROCESS,
) -> Stream:
    """Endless mini-batches of ``schedule.batch`` images of a role, in the order ``runtime.seed`` gives.

    Of several processes each gets its share of every mini-batch. Close it, or use it as a context manager: a pack too
    large for the device is read by a thread.
    """
    return Stream(
        open_role(config, catalog, role, device=device, run_dir=Path(run_dir), processes=processes),
        batch_size=config.schedule.batch // processes.size,
        seed=derive_seed(config.runtime.seed, role),
        device=device,
        rank=processes.rank,
        world_size=processes.size,
    )


def unreadable_warnings(role: Role, source: Source) -> list[str]:
    """A warning when files of a role could not be read: how many, and the first three; the cached pack lists all."""
    skipped = () if isinstance(source, SimulatorSource) else source.skipped
    if not skipped:
        return []
    shown = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
    return [f"data.{role}: {len(skipped)} unreadable files skipped: {shown}{'; ...' if len(skipped) > 3 else ''}"]


def few_images_warnings(real: Source) -> list[str]:
    """A warning when there are too few real images to learn from."""
    if isinstance(real, SimulatorSource) or len(real) >= FEW:
        return []
    return [f"few real images: {len(real)}; D will know them by heart, give {FEW} or more"]


def first_images(source: Source, count: int) -> Resident:
    """The first ``count`` images of a source, on the device; all of them when it holds fewer."""
    return source.to_resident(count) if isinstance(source, SimulatorSource) else source.first(count)


def random_images(source: Source, count: int, *, seed: int) -> Resident:
    """``count`` random images of a source without their labels, on the device; all of them when it holds fewer.

    They come in random order from the whole source: a reader may give one person after another. A simulator that
    draws without end gives its first, which are random already.
    """
    if isinstance(source, SimulatorSource):
        return Resident(source.to_resident(count).image)
    rows = torch.randperm(len(source), generator=derived_generator("cpu", 0, "sample", seed))[:count]
    if isinstance(source, Resident):
        return Resident(source.image[rows.to(source.device)])
    return Resident(source.fetch(rows).image.to(source.device))
