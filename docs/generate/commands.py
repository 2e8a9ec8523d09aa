"""The reference of the command line, generated from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import typer

from synthreal.cli import app


def page() -> str:
    """Every command with its arguments and options, as Markdown."""
    return "\n\n".join(section(name, command) for name, command in commands(typer.main.get_command(app)))


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of a group by their whole names, sorted; a command of commands comes before those."""
    for name, command in sorted(group.commands.items()):
        yield prefix + name, command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")


def section(name: str, command: Any) -> str:
    """One command: what it does, how it is written, and a table of its arguments and options."""
    with command.context_class(command, info_name=f"synthreal {name}") as context:
        usage = command.get_usage(context).partition(":")[2].strip()
        records = [parameter.get_help_record(context) for parameter in command.params]
    head = "| argument or option | meaning |\n| --- | --- |"
    usage = " ".join(usage.split())
    lines = [f"## {name}", "", escape(command.help.strip(), quote=False), "", "```text", usage, "```", "", head]
    return "\n".join([*lines, *(row(*record) for record in records if record)])


def row(name: str, meaning: str) -> str:
    """The row of one argument or option."""
    name, meaning = (" ".join(text.split()) for text in (name, meaning))
    return f"| `{name}` | {escape(meaning, quote=False).replace('|', '&#124;')} |"
