"""Commands that ask whether refining pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli.application import app
from synthreal.cli.options import (
    ConfigFile,
    Device,
    Json,
    Plugins,
    Recipe,
    Settings,
    Split,
    catalog_of,
    configured,
    display,
)


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, fitted with different seeds.")],
    arms: Annotated[
        str | None, typer.Option(help="Comma-separated, or all; default: simulated,refined,histogram,real.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Estimators an arm and run.")] = 1,
    split: Annotated[Split, typer.Option(help="test, or validation to choose settings.")] = "test",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train the estimator on every arm, test it on real images."""
    from synthreal.cli.progress import evaluating
    from synthreal.cli.tables import evaluation_text
    from synthreal.evaluation.evaluate import evaluate as judge

    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    with _going_on(), evaluating() as on_arm:
        result = judge(runs, arms=names, seeds=seeds, split=split, device=device, on_arm=on_arm)
    display(result.to_json() if as_json else evaluation_text(result))


@app.command()
def ablate(
    over: Annotated[
        list[str] | None,
        typer.Option(help="dotted.key=value,value: settings to vary; on = the recipe's, off = none; repeatable."),
    ] = None,
    plugin: Plugins = None,
    recipe: Recipe = None,
    config: ConfigFile = None,
    settings: Settings = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of the runs; default runs/<recipe>-ablation.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each combination.")] = 1,
    split: Annotated[
        Split, typer.Option(help="validation to choose settings, test for a claim about chosen ones.")
    ] = "validation",
    as_json: Json = False,
) -> None:
    """Fit and judge every combination of some settings; the same command goes on after an interruption."""
    from synthreal.cli.progress import ablating
    from synthreal.cli.tables import ablation_text
    from synthreal.evaluation.ablate import ablate as compare

    catalog = catalog_of(plugin)
    resolved = configured(catalog, recipe, config, settings)
    folder = run or Path("runs") / f"{resolved.recipe}-ablation"
    with _going_on(), ablating() as (on_fit, on_arm):
        result = compare(resolved, catalog, over or (), folder, seeds=seeds, split=split, on_fit=on_fit, on_arm=on_arm)
    display(result.to_json() if as_json else ablation_text(result))
    if not as_json:
        typer.echo(f"{folder}: pictures; {folder / 'sheet.png'}: the same images by every combination")


@contextmanager
def _going_on() -> Iterator[None]:
    """Say what becomes of the work when it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; what is trained is kept, the same command goes on", err=True)
        raise typer.Exit(130) from None
