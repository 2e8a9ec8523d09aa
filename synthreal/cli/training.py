"""What the commands that train have in common: the plan of a training, and training with progress."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthreal.cli import folders
from synthreal.cli.options import ConfigFile, Plugins, Settings, catalog_of, changes_from

if TYPE_CHECKING:
    from synthreal.config import ResolvedConfig
    from synthreal.distributed.processes import Processes
    from synthreal.hooks.catalog import Catalog
    from synthreal.train.log import Report


class Plan(NamedTuple):
    """A training to start, or to continue from its last checkpoint."""

    config: ResolvedConfig
    catalog: Catalog
    run_dir: Path
    resume: bool


def continue_run(
    run_dir: Path,
    plugin: Plugins,
    pictures: folders.TwoFolders | None,
    file: ConfigFile,
    settings: Settings,
    *,
    trust: bool,
) -> Plan:
    """The plan to continue a run with its own configuration, changed by the user's."""
    from synthreal.hooks.catalog import Catalog
    from synthreal.hooks.resolve import resolve
    from synthreal.inference.pretrained import read_config

    stored, (trees, source) = read_config(run_dir), changes_from(file, settings)
    if pictures:
        pictures.check_run(run_dir)
        trees.append(pictures.roots())
    catalog = catalog_of(plugin, trust=trust) if plugin else Catalog.of_run(stored, run_dir, trust=trust)
    return Plan(resolve(stored.changed(*trees, source=source), catalog), catalog, run_dir, True)


def start_pictures(
    pictures: folders.TwoFolders,
    run_dir: Path,
    file: ConfigFile,
    settings: Settings,
    processes: Processes,
    *,
    trust: bool,
) -> Plan:
    """The plan of a new run of two folders."""
    from synthreal.hooks.catalog import Catalog

    catalog = Catalog.of((), trust=trust)
    config = folders.choose_configuration(pictures, run_dir, file, settings, catalog, processes)
    return Plan(config, catalog, run_dir, False)


def train(plan: Plan, processes: Processes, log: Sequence[str] = ()) -> Report | None:
    """Train with progress bars and trackers; the last report, None if the run was complete already."""
    from synthreal.cli.progress import ReportPrinter, progress_bars
    from synthreal.train.fit import fit
    from synthreal.train.loggers import open_loggers

    total = plan.config.schedule.total
    with progress_bars(visible=processes.is_main) as show:
        printer = ReportPrinter(lambda step, losses: show("fitting", step, total, losses))
        with open_loggers(log, plan.run_dir, plan.config, resume=plan.resume, on_warning=printer.warn) as track:

            def on_report(report: Report) -> None:
                printer(report)
                track(report)

            return fit(
                plan.config,
                plan.catalog,
                plan.run_dir,
                resume=plan.resume,
                on_report=on_report,
                on_warning=printer.warn,
            )


def saved_text(plan: Plan, last: Report | None) -> str:
    """What a training has saved."""
    from synthreal.inference.pretrained import weights_step

    done = "was complete already" if last is None else f"step {last.step}"
    total, quality = plan.config.schedule.total, plan.config.quality
    if last is not None and quality is not None and last.step < total:
        done += f" of {total}, stopped early: no better score in {quality.patience} reports"
    return (
        f"{plan.run_dir}: {done}, saved the weights of step {weights_step(plan.run_dir)}; "
        f"sheets in {plan.run_dir / 'sheets'}"
    )
