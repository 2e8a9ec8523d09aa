"""Tables printed in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from synthreal.check import Check, Contents
from synthreal.results import tables
from synthreal.results.schema import Ablation, Evaluation
from synthreal.results.tables import p_text
from synthreal.testing.outcome import Outcome

if TYPE_CHECKING:
    from synthreal.evaluation.label_matching import Matching

LINES = 8  # of a cell


def evaluation_text(evaluation: Evaluation) -> Group:
    """The warnings of an evaluation, its tables and its verdict."""
    parts = [*_warnings(evaluation), *map(_text, tables.evaluation_tables(evaluation))]
    return Group(*parts, *([] if evaluation.verdict is None else [Text(evaluation.verdict.sentence, style="bold")]))


def matching_text(found: Matching) -> Group:
    """The spread of the labels before and after images were chosen by them."""
    spreads = found.quantities.items()
    rows = tuple((name, *(f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in pair)) for name, pair in spreads)
    columns = ("quantity", "simulated", "chosen")
    return _text(tables.Table("Spread of the labels", columns, rows, ("Mean ± standard deviation.",)))


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


def rules_table(outcomes: Sequence[Outcome]) -> Table:
    """The outcome of every rule of :func:`synthreal.testing.check_domain`, one row each."""
    table = Table("rule", "result", "")
    for outcome in outcomes:
        table.add_row(*map(Text, (outcome.rule, outcome.status, outcome.message)))
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


def check_table(check: Check) -> Group:
    """The contents of every path, one column each, then what is wrong, or that nothing is."""
    columns = [_content_cells(found) for found in check.sets]
    rows = tuple((name, *(cells[name] for cells in columns)) for name in columns[0] if any(c[name] for c in columns))
    table = tables.Table("", ("", *(found.path for found in check.sets)), rows)
    lines = [f"warning: {finding}" for finding in check.findings] or ["Nothing is wrong."]
    return Group(_text(table), *map(Text, lines))


def _content_cells(found: Contents) -> dict[str, str]:
    """What is in a path, by the name of the row; an empty text for nothing."""
    labels = []
    for name, label in found.labels.items():
        span = "" if label.low is None else f" {label.low:.4g} to {label.high:.4g}"
        size = (
            "" if label.shape == () else f" {'x'.join(map(str, label.shape)) if label.shape else 'of several shapes'}"
        )
        some = f" ({label.images} images)" if label.images < found.images else ""
        labels.append(f"{name}{size}{span} {label.unit}".rstrip() + " (constant)" * label.constant + some)
    return {
        "images": f"{found.images:,}",
        "px": _sizes(found.sizes),
        "mode": _kinds(found.modes),
        "depth": _kinds(found.depths),
        "folders": _counts(found.folders) if len(found.folders) > 1 else "",
        "brightness": _spread(found.brightness),
        "contrast": _spread(found.contrast),
        "constant": _count(found.constant),
        "duplicates": _count(found.duplicates),
        "near-duplicates": _count(found.near_duplicates),
        "turned by EXIF": f"{found.turned:,}" if found.turned else "",
        "several pictures": f"{found.several:,}" if found.several else "",
        "left out": _count(found.left_out),
        "sidecars": _counts(found.sidecars),
        "without a picture": _count(found.lone_sidecars),
        "other files": _counts(found.others),
        "labels": _lines(labels),
    }


def _spread(values: tuple[float, float, float]) -> str:
    low, mean, high = values
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _count(names: Sized) -> str:
    return f"{len(names):,}" if names else ""


def _kinds(counts: Mapping[str, int]) -> str:
    """What the images are, with the number of each kind if there are several."""
    return next(iter(counts)) if len(counts) == 1 else _counts(counts)


def _sizes(counts: Mapping[str, int]) -> str:
    """The sizes as :func:`_kinds`; of many only their number, the smallest and the largest by area."""
    if len(counts) <= LINES:
        return _kinds(counts)
    ordered = sorted(counts, key=lambda size: math.prod(map(int, size.split("x"))))
    return f"{len(counts):,} sizes\n{ordered[0]} to {ordered[-1]}"


def _counts(counts: Mapping[str, int]) -> str:
    return _lines(f"{name or 'none'}: {count:,}" for name, count in counts.items())


def _lines(texts: Iterable[str]) -> str:
    """At most eight lines."""
    lines = list(texts)
    more = [f"and {len(lines) - LINES} more"] if len(lines) > LINES else []
    return "\n".join(lines[:LINES] + more)


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
