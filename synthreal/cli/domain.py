"""Commands about a domain: what there is, how it is configured, its data as packs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from synthreal.cli.application import app
from synthreal.cli.options import (
    ConfigFile,
    Device,
    Json,
    Plugins,
    Recipe,
    Settings,
    catalog_of,
    configured,
    display,
)


@app.command()
def plugins(as_json: Json = False) -> None:
    """List installed plugins and what each registers."""
    from synthreal.cli.tables import plugins_table
    from synthreal.hooks.catalog import inventory

    rows = inventory()
    display(rows if as_json else plugins_table(rows))


@app.command()
def show(plugin: Plugins = None, recipe: Recipe = None, config: ConfigFile = None, settings: Settings = None) -> None:
    """Print the resolved configuration as TOML."""
    catalog = catalog_of(plugin)
    typer.echo(configured(catalog, recipe, config, settings).to_toml(), nl=False)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="Name of a data set of the plugin, or folder, or pack.")],
    out: Annotated[Path, typer.Argument(help="The pack to write (.h5); must not exist.")],
    plugin: Plugins = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="option=value of the data set; repeatable.")
    ] = None,
    role: Annotated[str | None, typer.Option(help="simulated, real, real_labelled, validation or test.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most; needed for a simulator.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a simulator.")] = 0,
    device: Device = "auto",
) -> None:
    """Write any data set, read or drawn, as a pack."""
    from synthreal.bulk.prepare import prepare as run
    from synthreal.cli.progress import counting

    with counting("preparing") as advance:
        summary = run(
            catalog_of(plugin),
            dataset,
            out,
            settings=settings or (),
            role=role,
            limit=limit,
            seed=seed,
            device=device,
            on_progress=advance,
        )
    _skipped(summary.skipped)
    typer.echo(f"{summary.path}: {summary.n} images")


def _skipped(items: Any) -> None:
    for item in items:
        typer.echo(f"skipped {item.path}: {item.reason}", err=True)
    if items:
        typer.echo(f"{len(items)} unreadable files skipped", err=True)
