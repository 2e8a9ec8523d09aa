"""Tables printed in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from synthreal.results import tables
from synthreal.results.format import p_text
from synthreal.results.schema import Evaluation


def evaluation_text(evaluation: Evaluation) -> Group:
    """The tables of an evaluation, then its warnings."""
    warnings = (Text(f"warning: {warning}") for warning in evaluation.warnings)
    return Group(*map(_text, tables.evaluation_tables(evaluation)), *warnings)


def ablation_text(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.evaluation.ablate.ablate`, one row per combination of settings."""
    rows = [(row["settings"], Evaluation.model_validate(row)) for row in result["rows"]]
    table = tables.ablation_table(result["recipe"], result["seeds"], rows)
    notes = []
    if (rule := result["rule"]) is not None:
        notes.append(
            f"Rank correlation of the label-free score with the error: {rule['spearman']:+.2f}, {rule['runs']} runs."
        )
    return Group(_text(table), *notes)


def plugins_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What :func:`synthreal.hooks.catalog.inventory` found."""
    table = Table()
    for title in ("plugin", "distribution", "version", "registers"):
        table.add_column(title)
    for row in rows:
        given = [f"{kind}: {', '.join(names)}" for kind, names in row["registers"].items() if names]
        table.add_row(row["plugin"], row["distribution"], row["version"], "\n".join(given) or row["error"] or "nothing")
    return table


def turing_table(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.turing.summary.summarise`: raters, then a confusion matrix a kind of image."""
    raters = Table()
    for title in ("rater", "against"):
        raters.add_column(title)
    for title in ("answered", "right", "accuracy", "p"):
        raters.add_column(title, justify="right")
    for entry in result["raters"]:
        raters.add_row(Text(entry["rater"]), *_answered(entry))
    for total in result["total"].values():
        raters.add_row(f"all {total['raters']}", *_answered(total), style="bold")
    return Group(raters, *map(_confusion, result["total"].values()))


def _answered(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        entry["against"],
        f"{entry['done']} of {entry['total']}",
        str(entry["correct"]),
        f"{100 * entry['accuracy']:.1f} %",
        p_text(entry["p"]),
    )


def _confusion(total: Mapping[str, Any]) -> Table:
    table = Table(title=f"real against {total['against']}")
    table.add_column("")
    for choice in ("real", "synthetic"):
        table.add_column(f"chosen {choice}", justify="right")
    for truth, row in total["confusion"].items():
        table.add_row(f"truly {truth}", *map(str, row.values()))
    return table


def _text(table: tables.Table) -> Group:
    """A table with its title above and its notes below, narrow enough for a terminal of 80 columns."""
    text = Table(title=table.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    text.add_column(table.columns[0], overflow="fold")
    for column in table.columns[1:]:
        text.add_column(column, justify="right", overflow="fold")
    for row in table.rows:
        text.add_row(*row)
    return Group(text, *table.notes)
