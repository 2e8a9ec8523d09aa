"""Commands that make a refiner and use it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthreal.cli.application import app
from synthreal.cli.options import (
    ConfigFile,
    Device,
    Plugins,
    Recipe,
    Settings,
    catalog_of,
    configured,
    differences,
    number_of,
    source_of,
)
from synthreal.errors import UserError

if TYPE_CHECKING:
    from synthreal.distributed.processes import Processes


@app.command()
def fit(
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", help="Run directory; default runs/<recipe>; torchrun takes --run-dir only."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the directory.")] = False,
) -> None:
    """Train a refiner: R alone, D alone, then the game. Under torchrun, by several processes together."""
    from synthreal.distributed.join import process_group

    with process_group() as processes:  # before anything can go wrong, so that what does is told once
        code = _fit(plugin, recipe, config, settings, run, resume=resume, processes=processes)
    raise typer.Exit(code)


def _fit(
    plugin: list[str] | None,
    recipe: str | None,
    config: Path | None,
    settings: list[str] | None,
    run: Path | None,
    *,
    resume: bool,
    processes: Processes,
) -> int:
    from synthreal.cli.progress import training
    from synthreal.inference.pretrained import read_config, weights_step
    from synthreal.train.checkpoint import checkpoints
    from synthreal.train.fit import fit as train

    if resume and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        # torchrun gives every attempt the same words: the first, and others before anything is saved, begin
        resume = bool(checkpoints(run or Path("runs") / (recipe or catalog_of(plugin).recipe().recipe)))
    if resume and recipe is None:
        run_dir = run or Path("runs") / catalog_of(plugin).recipe().recipe
        stored = read_config(run_dir)
        catalog = catalog_of(plugin or list(stored.plugins))
        resolved = stored.changed(*differences(config, settings), source=source_of(config, settings))
    else:
        catalog = catalog_of(plugin)
        resolved = configured(catalog, recipe, config, settings)
        run_dir = run or Path("runs") / resolved.recipe
    if not processes.is_main:
        try:
            train(resolved, catalog, run_dir, resume=resume)
        except KeyboardInterrupt:
            return 130
        return 0
    try:
        with training(resolved.schedule.total) as on_report:
            last = train(resolved, catalog, run_dir, resume=resume, on_report=on_report)
    except KeyboardInterrupt:
        if not checkpoints(run_dir):
            typer.echo("stopped before anything was saved", err=True)
            return 130
        names = " ".join(f"--plugin {shlex.quote(name)}" for name in resolved.plugins)
        program, option = "synthreal", "--run"
        if processes.size > 1:  # torchrun takes --run for its own
            program, option = f"torchrun --nproc-per-node={processes.local_size} -m synthreal", "--run-dir"
        command = f"{program} fit {names} {option} {shlex.quote(str(run_dir))} --resume"
        typer.echo(f"stopped; {checkpoints(run_dir)[-1]} is saved, continue with: {command}", err=True)
        return 130
    done = "was complete already" if last is None else f"step {last.step}"
    if last is not None and resolved.quality is not None and last.step < resolved.schedule.total:
        done += f" of {resolved.schedule.total}, stopped after {resolved.quality.patience} looks without a better one"
    done += f", weights of step {weights_step(run_dir)} kept"
    command = f"synthreal evaluate {shlex.quote(str(run_dir))}"
    typer.echo(f"{run_dir}: {done}; sheets in {run_dir / 'sheets'}; judge it with: {command}")
    return 0


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    source: Annotated[Path, typer.Argument(metavar="IN.h5|FOLDER|IN.tar", help="Pack, pictures or shards.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="What to write, of the same kind.")],
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise maps.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Refined versions of each image; needs noise maps.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Images through the network at once; auto finds the fastest.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16; default: the run's.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch.")] = None,
    tile: Annotated[
        str | None, typer.Option(metavar="PX|none", help="Side above which images are refined in tiles; default 1024.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT, or an interrupted job.")] = False,
) -> None:
    """Refine every image of a data set, in order, everything else untouched; run again to continue."""
    from synthreal.bulk.refine import refine_bulk, state_of
    from synthreal.cli.progress import refining
    from synthreal.distributed.rank import Rank, let_main_report_first

    rank = Rank.here()
    try:
        if precision not in (None, "auto", "float32", "bfloat16"):
            raise UserError(f"--precision {precision}: choose auto, float32 or bfloat16")
        with refining(rank.number) as (advance, assemble):
            done = refine_bulk(
                run,
                source,
                target,
                device=device,
                seed=seed,
                samples=samples,
                limit=limit,
                batch_size="auto" if batch_size == "auto" else number_of("--batch-size", batch_size, "auto"),
                precision=precision,
                threads=threads,
                tile="none" if tile == "none" else number_of("--tile", tile, "none"),
                overwrite=overwrite,
                on_progress=advance,
                on_assembly=assemble,
            )
    except UserError:
        let_main_report_first()
        raise
    except KeyboardInterrupt:
        if rank.number == 0:
            typer.echo(state_of(target), err=True)
        raise typer.Exit(130) from None
    if rank.number > 0:
        return
    for item in done.failed:
        typer.echo(f"failed {item.path}: {item.reason}", err=True)
    if done.aside is not None:
        typer.echo(f"{done.path} was no result of refine; what it held is in {done.aside}", err=True)
    counts = f"{done.refined} refined images"
    counts += f", {done.copied} other files copied" if done.copied else ""
    counts += f", {len(done.failed)} failed" if done.failed else ""
    typer.echo(f"{done.path}: {'was complete already, ' if done.done == 'before' else ''}{counts}")
