"""Commands that make a refiner and use it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

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
    source_of,
)


@app.command()
def fit(
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run directory; default runs/<recipe>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the directory.")] = False,
) -> None:
    """Train a refiner: R alone, D alone, then the game."""
    from synthreal.run.checkpoint import checkpoints
    from synthreal.run.fit import fit as train
    from synthreal.run.progress import training
    from synthreal.transform import read_config, weights_step

    if resume and recipe is None:
        run_dir = run or Path("runs") / catalog_of(plugin).recipe().recipe
        stored = read_config(run_dir)
        catalog = catalog_of(plugin or list(stored.plugins))
        resolved = stored.changed(*differences(config, settings), source=source_of(config, settings))
    else:
        catalog = catalog_of(plugin)
        resolved = configured(catalog, recipe, config, settings)
        run_dir = run or Path("runs") / resolved.recipe
    try:
        with training(resolved.schedule.total) as on_report:
            last = train(resolved, catalog, run_dir, resume=resume, on_report=on_report)
    except KeyboardInterrupt:
        if not checkpoints(run_dir):
            typer.echo("stopped before anything was saved", err=True)
            raise typer.Exit(130) from None
        names = " ".join(f"--plugin {shlex.quote(name)}" for name in resolved.plugins)
        command = f"synthreal fit {names} --run {shlex.quote(str(run_dir))} --resume"
        typer.echo(f"stopped; {checkpoints(run_dir)[-1]} is saved, continue with: {command}", err=True)
        raise typer.Exit(130) from None
    done = "was complete already" if last is None else f"step {last.step}"
    if last is not None and resolved.quality is not None and last.step < resolved.schedule.total:
        done += f" of {resolved.schedule.total}, stopped after {resolved.quality.patience} looks without a better one"
    done += f", weights of step {weights_step(run_dir)} kept"
    command = f"synthreal evaluate {shlex.quote(str(run_dir))}"
    typer.echo(f"{run_dir}: {done}; sheets in {run_dir / 'sheets'}; judge it with: {command}")


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    source: Annotated[Path, typer.Argument(metavar="IN.h5", help="Pack of simulated images.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.h5", help="Pack to write; must not exist.")],
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise maps.")] = 0,
) -> None:
    """Refine every image of a pack, in order, labels untouched."""
    from synthreal.run.progress import counting
    from synthreal.run.refine import refine_pack

    with counting("refining") as advance:
        summary = refine_pack(run, source, target, device=device, seed=seed, on_progress=advance)
    typer.echo(f"{summary.path}: {summary.n} refined images")
