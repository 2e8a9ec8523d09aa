"""Commands that train a refiner and apply it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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

if TYPE_CHECKING:
    from synthreal.distributed.processes import Processes

Precision = Literal["auto", "float32", "bfloat16"]


@app.command()
def fit(
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", "--run-dir", help="Run directory; default: runs/<recipe>. Under torchrun write --run-dir."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in this directory.")] = False,
) -> None:
    """Train a refiner. R and D are first trained alone, then together; torchrun starts several processes."""
    from synthreal.distributed.join import process_group

    with process_group() as processes:  # first, so that an error is reported once
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
    from synthreal.hooks.resolve import resolve
    from synthreal.inference.pretrained import read_config, weights_step
    from synthreal.train.checkpoint import checkpoints
    from synthreal.train.fit import fit as train

    if resume and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
        # torchrun repeats the same arguments after a failure: without a checkpoint the run starts from the beginning
        resume = bool(checkpoints(run or Path("runs") / (recipe or catalog_of(plugin).recipe().recipe)))
    if resume and recipe is None:
        run_dir = run or Path("runs") / catalog_of(plugin).recipe().recipe
        stored = read_config(run_dir)
        catalog = catalog_of(plugin or list(stored.plugins))
        resolved = resolve(stored.changed(*differences(config, settings), source=source_of(config, settings)), catalog)
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
        if processes.size > 1:  # torchrun would take --run for one of its own options
            program, option = f"torchrun --nproc-per-node={processes.local_size} -m synthreal", "--run-dir"
        command = f"{program} fit {names} {option} {shlex.quote(str(run_dir))} --resume"
        typer.echo(f"stopped; {checkpoints(run_dir)[-1]} is saved, continue with: {command}", err=True)
        return 130
    done = "was complete already" if last is None else f"step {last.step}"
    if last is not None and resolved.quality is not None and last.step < resolved.schedule.total:
        done += f" of {resolved.schedule.total}, stopped early: no better score in {resolved.quality.patience} reports"
    command = f"synthreal evaluate {shlex.quote(str(run_dir))}"
    typer.echo(
        f"{run_dir}: {done}, saved the weights of step {weights_step(run_dir)}; "
        f"sheets in {run_dir / 'sheets'}; evaluate it with: {command}"
    )
    return 0


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    source: Annotated[
        Path, typer.Argument(metavar="IN.h5|FOLDER|IN.tar", help="Pack, folder of images, or tar shards.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output of the same kind.")],
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise maps.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Refined versions per image; requires noise maps.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of images.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Images per network pass; auto measures the fastest.")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Precision; default: that of the run.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
    tile: Annotated[
        str | None, typer.Option(metavar="PX|none", help="Refine images with a longer side in tiles; default: 1024.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT or an interrupted job.")] = False,
) -> None:
    """Refine every image of a data set. Everything else is copied; run the same command again to continue."""
    from synthreal.bulk.refine import refine_bulk, state_of
    from synthreal.cli.progress import refining
    from synthreal.distributed.rank import Rank

    rank = Rank.here()
    try:
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
    except KeyboardInterrupt:
        if rank.number == 0:
            typer.echo(state_of(target), err=True)
        raise typer.Exit(130) from None
    if rank.number > 0:
        return
    for item in done.failed:
        typer.echo(f"failed {item.path}: {item.reason}", err=True)
    if done.aside is not None:
        typer.echo(f"{done.path} was not written by refine; its content is now in {done.aside}", err=True)
    counts = f"{done.refined} refined images"
    counts += f", {done.copied} other files copied" if done.copied else ""
    counts += f", {len(done.failed)} failed" if done.failed else ""
    typer.echo(f"{done.path}: {'was complete already, ' if done.done == 'before' else ''}{counts}")
