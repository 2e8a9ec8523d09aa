"""Commands that measure whether refining helps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli import options
from synthreal.cli.application import app
from synthreal.cli.options import display, load_configuration, print_line, resumable


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories of fits with different seeds.")],
    arms: Annotated[
        str | None,
        typer.Option(help="Comma-separated training sets, or all; default: simulated,refined,versions,histogram,real."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Estimators per arm and run.")] = 1,
    split: Annotated[
        options.Split, typer.Option(help="Images to test on: test, or validation to choose settings.")
    ] = "test",
    device: options.Device = "auto",
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Train an estimator on each arm and test it on real images."""
    from synthreal.cli.progress import progress_bars
    from synthreal.cli.tables import evaluation_text
    from synthreal.evaluation.evaluate import evaluate as judge

    names = None if arms is None else [name.strip() for name in arms.split(",") if name.strip()]
    with resumable(), progress_bars() as show:

        def on_arm(arm: str, done: int, total: int) -> None:
            show("evaluating", done, total, arm)

        result = judge(runs, arms=names, seeds=seeds, split=split, device=device, trust=trust, on_arm=on_arm)
    display(result.to_json() if as_json else evaluation_text(result))


@app.command()
def ablate(
    over: Annotated[
        list[str] | None,
        typer.Option(help="Setting to vary: dotted.key=value,value; on = as in the recipe, off = none; repeatable."),
    ] = None,
    plugin: options.Plugins = None,
    recipe: options.Recipe = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    run: Annotated[Path | None, typer.Option("--run", help="Folder of runs; default: runs/<recipe>-ablation.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs per combination.")] = 1,
    split: Annotated[
        options.Split,
        typer.Option(help="Images to test on: validation to choose settings, test to report on chosen settings."),
    ] = "validation",
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Fit and evaluate combinations of settings. The same command continues after an interruption."""
    from synthreal.cli.progress import ablation_progress
    from synthreal.cli.tables import ablation_text
    from synthreal.evaluation.ablation import ablate as compare

    catalog, resolved = load_configuration(plugin, recipe, config, settings, trust=trust)
    folder = run or Path("runs") / f"{resolved.recipe}-ablation"
    with resumable(), ablation_progress() as (on_fit, on_arm):
        result = compare(resolved, catalog, over or (), folder, seeds=seeds, split=split, on_fit=on_fit, on_arm=on_arm)
    display(result.to_json() if as_json else ablation_text(result))
    if not as_json:
        print_line(f"{folder}: pictures; {folder / 'sheet.png'}: the same images by every combination")
