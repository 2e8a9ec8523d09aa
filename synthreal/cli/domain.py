"""Commands about the data of a domain: resolved configurations, data sets as packs and their contents."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli import options
from synthreal.cli.application import app
from synthreal.cli.options import catalog_of, display, load_configuration, print_line


@app.command()
def show(
    plugin: options.Plugins = None,
    recipe: options.Recipe = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
) -> None:
    """Print the resolved configuration as TOML."""
    typer.echo(load_configuration(plugin, recipe, config, settings)[1].to_toml(), nl=False)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="Name of a data set of the plugin, or pictures, folder or pack.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Pack to write (.h5); must not exist.")],
    plugin: options.Plugins = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the data set: option=value; repeatable.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="Role: simulated, real, real_labelled, validation or test.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of images: a random choice of files; needed for a simulator."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulator.")] = 0,
    device: options.Device = "auto",
) -> None:
    """Write a data set as a pack. Its images are read from files or simulated."""
    from synthreal.bulk.prepare import prepare as run
    from synthreal.cli.progress import progress_bars

    with progress_bars() as show:
        summary = run(
            catalog_of(plugin),
            dataset,
            out,
            settings=settings or (),
            role=role,
            limit=limit,
            seed=seed,
            device=device,
            on_progress=partial(show, "preparing"),
        )
    for item in summary.skipped:
        print_line(f"skipped {item.path}: {item.reason}", err=True)
    if summary.skipped:
        print_line(f"{len(summary.skipped)} unreadable files skipped", err=True)
    of = f" of {summary.total:,}, a random choice (seed 0)" if summary.n < (summary.total or 0) else ""
    print_line(f"{summary.path}: {summary.n} images{of}")


@app.command()
def match_labels(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory; its task has one label, of numbers.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Pack to write (.h5); must not exist.")],
    device: options.Device = "auto",
    trust: options.Trust = False,
) -> None:
    """Write simulated images whose labels are distributed as in the real images, as far as an estimator can tell.

    Fit a second run to them if the simulator's labels, such as poses, vary more than in reality.
    """
    from synthreal.cli.progress import progress_bars
    from synthreal.cli.tables import matching_text
    from synthreal.evaluation.label_matching import match_labels as match

    with progress_bars() as show:
        found = match(run, out, device=device, trust=trust, on_progress=partial(show, "choosing"))
    for warning in found.warnings:
        print_line(f"warning: {warning}", err=True)
    display(matching_text(found))
    print_line(f"{found.path}: {found.n:,} of {found.drawn:,} simulated images; fit a new run to them with")
    source = f'data.simulated={{name="pack", options={{path={json.dumps(str(found.path))}}}}}'
    print_line(f"--set {shlex.quote(source)}")


@app.command()
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Folders of pictures or packs (.h5): simulated, real, any others."),
    ],
    plugin: options.Plugins = None,
    as_json: options.Json = False,
) -> None:
    """Say what data sets contain and what is wrong with them. Exits with code 1 if anything is wrong.

    Of two or more PATHs the first is the simulated set and the second the real one, and they are compared. With
    --plugin every PATH is a pack, and must have the image format and the labels of the plugin's default recipe.
    """
    from synthreal.check import check_sets
    from synthreal.cli.progress import progress_bars
    from synthreal.cli.tables import check_table

    catalog = catalog_of(plugin) if plugin else None
    with progress_bars() as show:
        result = check_sets(
            paths, catalog=catalog, on_progress=lambda path, done, total: show(f"checking {path}", done, total)
        )
    display(result.to_json() if as_json else check_table(result))
    if result.findings:
        raise typer.Exit(1)
