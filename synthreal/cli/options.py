"""What commands have in common: their options, the configuration these make, and printing."""

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

WIDE = 200

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A domain: its name, package.module or path/to/domain.py; repeatable."),
]
Recipe = Annotated[str | None, typer.Option(help="A recipe of the plugin; default: the one named like it.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of differences over the recipe.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="dotted.key=value over recipe and file; the value is TOML; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Split = Literal["test", "validation"]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def catalog_of(names: list[str] | None) -> Catalog:
    """The catalog of the domains a user named. Raises ``UserError`` when there are none."""
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
    """The file's, then each setting's; a run's own config.toml will do as a file."""
    from synthreal.config.toml import parse_settings
    from synthreal.inference.pretrained import read_tree

    return ([read_tree(config)] if config else []) + parse_settings(settings or ())


def source_of(config: Path | None, settings: list[str] | None) -> str:
    """Where a wrong setting may stand."""
    return " or ".join([str(config)] * bool(config) + ["--set"] * bool(settings)) or "configuration"


def number_of(option: str, text: str | None, word: str) -> int | None:
    """The number of at least 1 that an option takes besides a word; None as it is."""
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{option} {text}: give a number of at least 1, or {word}")
    return int(text)


def display(what: Any) -> None:
    """Print a table, or what should be JSON."""
    if isinstance(what, list | dict):
        typer.echo(json.dumps(what, indent=2))
        return
    from rich.console import Console

    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if told else WIDE).print(what)  # in a file or a pipe, tables are as wide as they need to be
