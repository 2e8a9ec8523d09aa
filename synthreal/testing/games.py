"""Rules of a whole run: a short game is played, and nothing reaches the network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from synthreal.config import ResolvedConfig
from synthreal.data.pack import PackOptions
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, Entry
from synthreal.hooks.resolve import configure, dataset_of
from synthreal.inference.transform import Refine
from synthreal.spec import FeatureSpec, Role
from synthreal.testing.domain import Domain
from synthreal.testing.offline import offline
from synthreal.testing.outcome import Absent, RuleSkipped
from synthreal.train.fit import fit

COUNT = 16
READ = 32
SHORT = {"refiner_steps": 2, "discriminator_steps": 1, "steps": 3, "batch": 4, "save_every": 6, "sheet_every": 6}
RUNTIME = {"device": "cpu", "precision": "float32", "threads": None, "keep_memory": False, "compile": False}


def game(domain: Domain) -> str:
    """Six steps of the default recipe on a few images, and the trained refiner is loaded and refines."""
    config, catalog, remark = _short(domain)
    with tempfile.TemporaryDirectory(prefix="synthreal-check-") as folder:
        run = Path(folder) / "run"
        fit(config, catalog, run)
        refiner = Refine.load(run, device="cpu", generator=torch.Generator().manual_seed(0))
        images = torch.rand((2, *config.image.shape), generator=torch.Generator().manual_seed(0))
        refined = refiner(images)
    if not torch.isfinite(refined).all():
        raise UserError("the refiner of a short run returns NaN or infinity; lower optimizer.*.learning_rate")
    return remark


def connections(domain: Domain) -> str:
    """Hooks, simulators, readers, networks and evaluators do not touch the network, also not in the other rules."""
    with offline() as attempts:
        remark = _call_everything(domain)
    if found := [*domain.attempts, *attempts]:
        raise UserError(
            f"plugin {domain.plugin} asks for {', '.join(sorted(set(found))[:3])}; take what it downloads from a file "
            "that an option names, or ship it with the package"
        )
    return remark


def _call_everything(domain: Domain) -> str:
    """Call every function of a plugin, without regard to its faults: other rules report them. Returns a remark."""
    with suppress(Exception):
        Catalog.of([domain.plugin])  # calls the hooks again
    for dataset in domain.datasets:
        with suppress(Exception):
            domain.render(dataset, 2, seed=0) if dataset.render is not None else domain.samples(dataset)
    try:
        image = domain.config.image
    except RuleSkipped:
        return "networks and evaluators were not tried: no recipe resolves"
    for spec in domain.components:
        with suppress(Exception):
            if not (isinstance(spec, FeatureSpec) and spec.executes):
                spec.build(domain.options(spec), image)
    return ""


def _short(domain: Domain) -> tuple[ResolvedConfig, Catalog, str]:
    """The default recipe with a short schedule, few images and no evaluation, a catalog for it, and a remark.

    Where the real images are files that are absent, simulated ones take their place. Raises ``RuleSkipped`` if the
    simulated images are absent, too.
    """
    config, datasets, remark = domain.config, dict(domain.catalog.datasets), ""
    simulated, real = config.data.simulated.name, config.data.real.name
    data: dict[str, Any] = {"simulated": {"count": COUNT}, "real": {"count": COUNT}}
    data |= dict.fromkeys(("real_labelled", "validation", "test"))
    if (reason := _absence(domain, "simulated")) is not None:
        raise RuleSkipped(f"data.simulated is absent: {reason}")
    if (reason := _absence(domain, "real")) is not None:
        entry = datasets[simulated, "simulated"]
        datasets[simulated, "real"] = Entry(replace(entry.spec, role="real"), entry.origin)
        data["real"] = {**config.data.simulated.model_dump(), "count": COUNT}
        remark, real = f"with simulated images in place of real ones, because {real} is absent", simulated
    keys: tuple[tuple[str, Role], ...] = ((simulated, "simulated"), (real, "real"))
    for key in keys:
        spec = datasets[key].spec
        if spec.read is not None and spec.options is not PackOptions:
            datasets[key] = Entry(replace(spec, read=_first(spec.read)), datasets[key].origin)
    catalog = replace(domain.catalog, datasets=datasets)
    changes: dict[str, Any] = {"data": data, "schedule": SHORT, "quality": None, "runtime": RUNTIME}
    if config.history is not None:
        changes["history"] = {"size": 8}
    return configure(catalog, changes, recipe=config.recipe), catalog, remark


def _absence(domain: Domain, role: Role) -> str | None:
    """Why the images of a role of the default recipe are absent; None if they are there."""
    spec, _, _ = dataset_of(domain.config, domain.catalog, role)
    try:
        if spec.read is not None:
            domain.samples(spec)
    except Absent as reason:
        return str(reason)
    return None


def _first(read: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
    """A reader that stops after a few items."""
    return lambda options: islice(read(options), READ)
