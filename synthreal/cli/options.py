"""Options shared by several commands, the configuration they give, and printing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synthreal.errors import UserError

if TYPE_CHECKING:
    from synthreal.config import ResolvedConfig
    from synthreal.hooks.catalog import Catalog

PIPE_COLUMNS = 200  # width of tables in a file or a pipe

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="Plugin of a domain: a name, package.module or path/to/domain.py; repeatable."),
]
Recipe = Annotated[str | None, typer.Option(help="Recipe of the plugin; default: the recipe with the plugin's name.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file with changes to the recipe.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting: dotted.key=value, with the value in TOML; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Literal["test", "validation"]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:N.")]


def catalog_of(names: list[str] | None) -> Catalog:
    """The catalog of the plugins given with ``--plugin``. Raises ``UserError`` when there are none."""
    from synthreal.hooks.catalog import Catalog
    from synthreal.hooks.discovery import available

    if not names:
        raise UserError(f"name a domain with --plugin; installed: {', '.join(available()) or 'none'}")
    return Catalog.of(names)


def configured(catalog: Catalog, recipe: str | None, config: Path | None, settings: list[str] | None) -> ResolvedConfig:
    """The resolved configuration: recipe, then the file, then ``--set``."""
    from synthreal.hooks.resolve import configure

    return configure(catalog, *differences(config, settings), recipe=recipe, source=source_of(config, settings))


def differences(config: Path | None, settings: list[str] | None) -> list[dict[str, Any]]:
    """The changes to a recipe: those of the file, which may be a run's config.toml, then each ``--set``."""
    from synthreal.config.toml import parse_settings
    from synthreal.inference.pretrained import read_tree

    return ([read_tree(config)] if config else []) + parse_settings(settings or ())


def source_of(config: Path | None, settings: list[str] | None) -> str:
    """The possible places of a wrong setting, for error messages."""
    return " or ".join([str(config)] * bool(config) + ["--set"] * bool(settings)) or "configuration"


def number_of(option: str, text: str | None, word: str) -> int | None:
    """The value, at least 1, of an option that takes a number or ``word``; None stays None."""
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{option} {text}: give a number of at least 1, or {word}")
    return int(text)


def display(result: Any) -> None:
    """Print a list or dictionary as JSON, anything else as a table."""
    if isinstance(result, list | dict):
        typer.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console

    fits_terminal = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if fits_terminal else PIPE_COLUMNS).print(result)
