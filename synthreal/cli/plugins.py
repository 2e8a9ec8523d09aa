"""Commands for authors of plugins: list, check and begin one."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from synthreal.cli import options
from synthreal.cli.application import app
from synthreal.cli.options import display, from_working_directory, print_line

plugins = typer.Typer(rich_markup_mode=None)
app.add_typer(plugins, name="plugins")


@plugins.callback(invoke_without_command=True)
def list_plugins(context: typer.Context, as_json: options.Json = False) -> None:
    """List the installed plugins and their components; check one, or begin a new one."""
    from synthreal.cli.tables import plugins_table
    from synthreal.hooks.catalog import inventory

    if context.invoked_subcommand is not None:
        if as_json:
            context.fail(f"put --json after {context.invoked_subcommand}")
        return
    rows = inventory()
    display(rows if as_json else plugins_table(rows))


@plugins.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin: a-z, 0-9 and _, such as gauges.")],
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="New folder that will hold pyproject.toml; default: synthreal-NAME."),
    ] = None,
) -> None:
    """Write a new plugin, ready to install, test and fit."""
    from synthreal.testing.new_plugin import new_plugin

    folder = into or Path(f"synthreal-{name}")
    files = new_plugin(name, folder)
    print_line(f"{folder}: {len(files)} files; next:")
    enter, install = f"cd {shlex.quote(str(folder))}", 'pip install -e ".[test]"'
    for command in (enter, install, "pytest", f"synthreal fit --plugin {name}"):
        print_line(f"  {command}")


@plugins.command()
def check(
    name: Annotated[str, typer.Argument(help="Plugin of a domain: a name, package.module or path/to/domain.py.")],
    as_json: options.Json = False,
) -> None:
    """Try a plugin against the rules that every domain keeps. Exits with code 1 if one is broken."""
    from synthreal.cli.progress import progress_bars
    from synthreal.cli.tables import rules_table
    from synthreal.testing.check import RULES, run_rule
    from synthreal.testing.domain import Domain

    from_working_directory([name])
    domain = Domain.load(name)
    outcomes = []
    with progress_bars() as show:
        for done, rule in enumerate(RULES):
            show("checking", done, len(RULES), rule)
            outcomes.append(run_rule(domain, rule))
        show("checking", len(RULES), len(RULES))
    broken = sum(outcome.status == "failed" for outcome in outcomes)
    display([asdict(outcome) for outcome in outcomes] if as_json else rules_table(outcomes))
    if not as_json:
        print_line(
            f"plugin {name} breaks {broken} of {len(RULES)} rules" if broken else f"plugin {name} keeps the rules"
        )
    if broken:
        raise typer.Exit(1)
