"""The runs of an evaluation, which must share a configuration, and the images that their estimators are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from synthreal.config import ResolvedConfig
from synthreal.data.levels import Levels, level_warnings
from synthreal.data.pack import pack_dataset
from synthreal.data.resident import Resident
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import Source
from synthreal.errors import UserError
from synthreal.evaluation.estimator import Task
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import dataset_of, resolve
from synthreal.inference.pretrained import read_config
from synthreal.results.schema import Split
from synthreal.spec import Role
from synthreal.train.data_warnings import origin_warnings, reading_warnings
from synthreal.train.run_dir import differences
from synthreal.train.sources import first_images, open_data, source_levels

FEW = 5  # test images, below which errors say little


@dataclass(frozen=True)
class Run:
    """A run to evaluate: its resolved configuration, its task (None without evaluator), and warnings about its data."""

    folder: Path
    config: ResolvedConfig
    task: Task | None
    catalog: Catalog
    device: torch.device
    warnings: list[str] = field(default_factory=list)

    def open_data(self, role: Role) -> Source:
        """Open the data of a role; unreadable files, a choice of images and another data set add warnings."""
        source = open_data(self.config, self.catalog, role, device=self.device, run_dir=self.folder)
        self.warnings.extend(reading_warnings(role, source))
        if role not in ("simulated", "real"):
            self.warnings.extend(origin_warnings(self.config, self.catalog, role))
            self.warnings.extend(level_warnings(self._real_levels, source_levels(self.config, role, source)))
        return source

    def class_names(self, label: str, role: Role) -> tuple[str, ...]:
        """The names of the classes of a label in the data of a role; empty if it has none, or there is no such data."""
        if getattr(self.config.data, role) is None:
            return ()
        spec, options, _ = dataset_of(self.config, self.catalog, role)
        return next((found.classes for found in pack_dataset(spec, options).labels if found.name == label), ())

    @cached_property
    def _real_levels(self) -> Levels:
        return source_levels(self.config, "real", self.open_data("real"))


def open_runs(folders: Sequence[Path], device: torch.device, trust: bool) -> list[Run]:
    """Read and resolve the configurations. Raises ``UserError`` for runs that differ in more than the seed."""
    configs = [read_config(folder) for folder in folders]
    by_seed: dict[int, Path] = {}
    for folder, config in zip(folders, configs, strict=True):
        changed = differences(configs[0], config)
        if keys := [key for key in changed if key == "runtime.precision" or not key.startswith(("runtime.", "recipe"))]:
            different = f"differs from {folders[0]} in {', '.join(keys[:4])}"
            raise UserError(f"{folder}: {different}; evaluate runs of one configuration together")
        if twin := by_seed.get(seed := config.runtime.seed):
            raise UserError(f"{folder}: has the runtime.seed of {twin} ({seed}); fit it with another seed")
        by_seed[seed] = folder
    catalog = Catalog.of_run(configs[0], folders[0], trust=trust)
    resolved = [resolve(config, catalog) for config in configs]
    tasks = [None if config.evaluation.evaluator is None else Task.of(config, catalog, device) for config in resolved]
    return [Run(*run, catalog, device) for run in zip(folders, resolved, tasks, strict=True)]


def open_test_images(runs: Sequence[Run], split: Split) -> Resident | None:
    """The labelled real images to test on, which must be the same in all runs; None if there are none."""
    missing = "evaluation.evaluator" if runs[0].task is None else f"data.{split}"
    if runs[0].task is None or getattr(runs[0].config.data, split) is None:
        runs[0].warnings.append(
            f"{missing} is none: quality is measured without labels, errors are not; to measure them, fit two "
            f"folders with --test, or a domain with an evaluator and data.{split} set to labelled real images"
        )
        return None
    found: list[Resident] = []
    for run in runs:
        source = run.open_data(split)
        assert not isinstance(source, SimulatorSource), "resolve() rejects simulators in this role"
        found = [*found[:1], first_images(source, len(source))]
        if len(source) < FEW:
            run.warnings.append(
                f"data.{split}: n is only {len(source)}; errors of so few images say little, give {FEW} or more"
            )
        if found[-1].sha256() != found[0].sha256():
            different = f"its {split} images are not those of {runs[0].folder}"
            raise UserError(f"{run.folder}: {different}; evaluate runs of one data set together")
    return found[0]
