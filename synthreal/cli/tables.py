"""Tables printed in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from synthreal.results import tables
from synthreal.results.schema import Ablation, Evaluation
from synthreal.results.tables import p_text


def evaluation_text(evaluation: Evaluation) -> Group:
    """The warnings of an evaluation, then its tables."""
    return Group(*_warnings(evaluation), *map(_text, tables.evaluation_tables(evaluation)))


def ablation_text(ablation: Ablation) -> Group:
    """The warnings and the table of an ablation, and how well the label-free score orders its runs."""
    parts = [*_warnings(*(row.evaluation for row in ablation.rows)), _text(tables.ablation_table(ablation))]
    if (rule := ablation.rule) is not None:
        parts.append(
            Text(f"Rank correlation of the label-free score with the error: {rule.spearman:+.2f}, {rule.runs} runs.")
        )
    return Group(*parts)


def plugins_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The result of :func:`synthreal.hooks.catalog.inventory`, one row per plugin."""
    table = Table("plugin", "distribution", "version", "registers")
    for row in rows:
        given = [f"{kind}: {', '.join(names)}" for kind, names in row["registers"].items() if names]
        found = "\n".join(given) or row["error"] or "nothing"
        table.add_row(*map(Text, (row["plugin"], row["distribution"], row["version"], found)))
    return table


def turing_table(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.turing.summary.summarise`: raters, then a confusion matrix per kind of image."""
    totals = result["total"].values()
    rows = []
    for entry in (*result["raters"], *totals):
        answered, accuracy = f"{entry['done']} of {entry['total']}", f"{100 * entry['accuracy']:.1f} %"
        name = entry["rater"] if "rater" in entry else f"all {entry['raters']}"
        rows.append((name, entry["against"], answered, str(entry["correct"]), accuracy, p_text(entry["p"])))
    raters = tables.Table("", ("rater", "against", "answered", "correct", "accuracy", "p"), tuple(rows))
    return Group(_text(raters), *map(_confusion, totals))


def _warnings(*evaluations: Evaluation) -> list[Text | Group]:
    found = dict.fromkeys(warning for evaluation in evaluations for warning in evaluation.warnings)
    return [Text(f"warning: {warning}") for warning in found]


def _confusion(total: Mapping[str, Any]) -> Group:
    rows = tuple((f"truly {truth}", *map(str, row.values())) for truth, row in total["confusion"].items())
    return _text(tables.Table(f"real against {total['against']}", ("", "chosen real", "chosen synthetic"), rows))


def _text(table: tables.Table) -> Group:
    """A table with its title above and its notes below, narrow enough for a terminal of 80 columns."""
    text = Table(title=Text(table.title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, column in enumerate(table.columns):
        text.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in table.rows:
        text.add_row(*map(Text, row))
    return Group(text, *map(Text, table.notes))
