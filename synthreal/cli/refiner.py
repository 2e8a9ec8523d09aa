"""Commands that train, apply and export a refiner."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthreal.cli import folders, options
from synthreal.cli.application import app
from synthreal.cli.options import catalog_of, load_configuration, print_line
from synthreal.cli.training import Plan, continue_run, saved_text, start_pictures, train
from synthreal.errors import UserError

if TYPE_CHECKING:
    from synthreal.distributed.processes import Processes

Precision = Literal["auto", "float32", "bfloat16"]


@app.command()
def fit(
    plugin: options.Plugins = None,
    recipe: options.Recipe = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", help="Run directory; default: runs/<recipe>. With torchrun use --run-dir."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in this directory.")] = False,
    simulated: folders.Simulated = None,
    real: folders.Real = None,
    scale: folders.Scale = None,
    minutes: folders.Minutes = None,
    test: folders.Test = None,
    labels: folders.Labels = None,
    label: folders.Label = None,
    log: options.Log = None,
    trust: options.Trust = False,
) -> int:
    """Train a refiner. R and D are first trained alone, then together; torchrun starts several processes.

    Name a domain with --plugin, or give two folders of pictures with --simulated and --real.
    """
    from synthreal.distributed.join import process_group
    from synthreal.hooks.discovery import trust_option
    from synthreal.train.checkpoint import checkpoints
    from synthreal.train.loggers import require_loggers

    with process_group() as processes:  # first, so that an error is reported once
        require_loggers(log or ())
        pictures = folders.two_folders(
            simulated, real, scale, minutes, test, labels, label, domain=bool(plugin or recipe)
        )
        plan = None
        try:
            if resume:
                run = run or Path("runs") / (folders.NAME if pictures else recipe or catalog_of(plugin).recipe().recipe)
                # torchrun repeats the arguments after a failure: a run without a checkpoint starts from the beginning
                resume = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") == "0" or bool(checkpoints(run))
            if run and resume and recipe is None:
                plan = continue_run(run, plugin, pictures, config, settings, trust=trust)
            elif pictures:
                run_dir = run or Path("runs") / folders.NAME
                plan = start_pictures(pictures, run_dir, config, settings, processes, trust=trust)
            else:
                catalog, resolved = load_configuration(plugin, recipe, config, settings, trust=trust)
                plan = Plan(resolved, catalog, run or Path("runs") / resolved.recipe, resume)
            last = train(plan, processes, log or ())
        except KeyboardInterrupt:
            if processes.is_main:
                print_line(_interrupted(plan, processes, log or [], trust), err=True)
            return 130
        if processes.is_main:
            several = plan.config.data.simulated.count != 1
            purpose, command = ("evaluate it with", "evaluate") if several else ("see it with", "report")
            advice = shlex.join(["synthreal", command, str(plan.run_dir), *trust_option(plan.config.plugins)])
            print_line(f"{saved_text(plan, last)}; {purpose}: {advice}")
        return 0


def _interrupted(plan: Plan | None, processes: Processes, trackers: list[str], trust: bool) -> str:
    """What an interrupted run has saved, and the command that continues it."""
    from synthreal.train.checkpoint import checkpoints

    if plan is None or not (saved := checkpoints(plan.run_dir)):
        return "stopped before anything was saved"
    program, option, log = "synthreal", "--run", "--log"
    if processes.size > 1:  # torchrun would take --run and --log for options of its own
        program, option, log = f"torchrun --nproc-per-node={processes.local_size} -m synthreal", "--run-dir", "--log-to"
    names = "".join(f" --plugin {shlex.quote(name)}" for name in plan.config.plugins)
    more = "".join(f" {log} {name}" for name in trackers) + " --trust" * trust
    command = f"{program} fit{names} {option} {shlex.quote(str(plan.run_dir))} --resume{more}"
    return f"stopped; {saved[-1]} is saved, continue with: {command}"


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    source: Annotated[Path, typer.Argument(metavar="IN.h5|FOLDER|IN.tar", help="Pack, image folder or tar shards.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Output of the same kind.")],
    device: options.Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise maps and styles.")] = 0,
    samples: Annotated[
        int,
        typer.Option(
            min=1, help="Versions per image: refined, then also in the style of real images (fda, histogram)."
        ),
    ] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of images.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Images per network pass; auto measures the fastest.")
    ] = None,
    precision: Annotated[Precision | None, typer.Option(help="Precision; default: that of the run.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")] = None,
    tile: Annotated[
        str | None, typer.Option(metavar="PX|none", help="Refine images of more than PX*PX px in tiles; default: 1024.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT or an interrupted job.")] = False,
    trust: options.Trust = False,
) -> None:
    """Refine every image of a data set. Everything else is copied; run the same command again to continue."""
    from synthreal.bulk.refine import refine_bulk, state_of
    from synthreal.cli.progress import progress_bars
    from synthreal.distributed.rank import Rank

    rank = Rank.here()
    try:
        with progress_bars(visible=rank.number == 0) as show:
            done = refine_bulk(
                run,
                source,
                target,
                device=device,
                seed=seed,
                samples=samples,
                limit=limit,
                batch_size="auto" if batch_size == "auto" else _number("--batch-size", batch_size, "auto"),
                precision=precision,
                threads=threads,
                tile="none" if tile == "none" else _number("--tile", tile, "none"),
                overwrite=overwrite,
                trust=trust,
                on_progress=partial(show, "refining"),
                on_assembly=partial(show, "assembling"),
                on_warning=lambda warning: print_line(f"warning: {warning}", err=True),
            )
    except KeyboardInterrupt:
        if rank.number == 0:
            print_line(state_of(target), err=True)
        raise typer.Exit(130) from None
    if rank.number > 0:
        return
    for item in done.failed:
        print_line(f"failed {item.path}: {item.reason}", err=True)
    if done.aside is not None:
        print_line(f"{done.path} was not written by refine; its content is now in {done.aside}", err=True)
    counts = f"{done.refined} refined images"
    counts += f", {done.copied} other files copied" if done.copied else ""
    counts += f", {len(done.failed)} failed" if done.failed else ""
    before = "was complete already, " if done.done == "before" else ""
    print_line(f"{done.path}: {before}{counts}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    trust: options.Trust = False,
) -> None:
    """Export the refiner as ONNX. The file has opset 18, float32, any batch and image size; onnxruntime checks it."""
    from synthreal.adapters.onnx import OPSET, export_onnx

    done = export_onnx(run, target, overwrite=overwrite, trust=trust)
    inputs = " and ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in done.inputs.items())
    print_line(f"{done.path}: {inputs} to refined, float32 in [0, 1], opset {OPSET}")
    print_line(f"onnxruntime computes the same images to {done.difference:.1e}, at two sizes")


def _number(option: str, text: str | None, word: str) -> int | None:
    """The value, at least 1, of an option that takes a number or ``word``; None stays None."""
    if text is not None and (not text.isdecimal() or len(text) > 9 or int(text) < 1):
        raise UserError(f"{option} {text}: give a number of at least 1, or {word}")
    return None if text is None else int(text)
