"""Options shared by several commands, the configuration they give, and printing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synthreal.errors import UserError, printable

if TYPE_CHECKING:
    from synthreal.config import ResolvedConfig
    from synthreal.hooks.catalog import Catalog

PIPE_COLUMNS = 200  # width of tables in a file or a pipe


def from_working_directory(value: Any) -> Any:
    """Let Python find code in the working directory, after all installed modules, if the user asks for such code."""
    from synthreal.hooks.discovery import available

    asked = value is True or (isinstance(value, list) and not set(value) <= set(available()))
    if asked and "" not in sys.path:
        sys.path.append("")
    return value


Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        callback=from_working_directory,
        help="Plugin of a domain: a name, package.module or path/to/domain.py; repeatable.",
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        callback=from_working_directory,
        help="Run the code that a run or a setting names: plugins that are not installed, programs of torch.export. "
        "report: read simulated images from outside the run directory, too.",
    ),
]
Recipe = Annotated[str | None, typer.Option(help="Recipe of the plugin; default: the recipe with the plugin's name.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with changes to the recipe.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting: dotted.key=value, with the value in TOML; repeatable."),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        "--log-to",
        help="Send what log.jsonl holds to tensorboard, wandb or mlflow, too; repeatable. With torchrun use --log-to.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Literal["test", "validation"]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:N.")]


def catalog_of(names: Plugins, *, trust: bool = False) -> Catalog:
    """The catalog of the plugins given with ``--plugin``. Raises ``UserError`` when there are none."""
    from synthreal.hooks.catalog import Catalog
    from synthreal.hooks.discovery import available

    if not names:
        installed = ", ".join(available()) or "none"
        raise UserError(
            f"name a domain with --plugin; installed: {installed}; fit also takes two folders: --simulated and --real"
        )
    return Catalog.of(names, trust=trust)


def load_configuration(
    plugin: Plugins, recipe: Recipe, file: ConfigFile, settings: Settings, *, trust: bool = False
) -> tuple[Catalog, ResolvedConfig]:
    """The catalog and the resolved configuration: recipe, then the file, then ``--set``."""
    from synthreal.hooks.resolve import configure

    catalog, (trees, source) = catalog_of(plugin, trust=trust), changes_from(file, settings)
    return catalog, configure(catalog, *trees, recipe=recipe, source=source)


def changes_from(file: ConfigFile, settings: Settings) -> tuple[list[dict[str, Any]], str]:
    """The changes to a recipe, and their source for error messages; the file may be a run's config.toml."""
    from synthreal.config.toml import parse_settings
    from synthreal.inference.pretrained import read_tree

    trees = ([read_tree(file)] if file else []) + parse_settings(settings or ())
    return trees, " or ".join([str(file)] * bool(file) + ["--set"] * bool(settings)) or "configuration"


@contextmanager
def resumable() -> Iterator[None]:
    """Print how to continue after an interruption."""
    try:
        yield
    except KeyboardInterrupt:
        print_line("stopped; what is finished is saved, and the same command continues", err=True)
        raise typer.Exit(130) from None


def print_line(line: str, *, err: bool = False) -> None:
    """Print a line, whose paths may hold bytes that are not UTF-8 or control a terminal."""
    typer.echo(printable(line), err=err)


def display(result: Any) -> None:
    """Print a list or dictionary as JSON, anything else as a table."""
    if isinstance(result, list | dict):
        typer.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console

    fits_terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if fits_terminal else PIPE_COLUMNS).print(result)
