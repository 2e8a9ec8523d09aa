"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from synthreal.results.format import (
    UNLABELLED,
    compared_text,
    mean_text,
    p_text,
    percent_text,
    quality_rows,
    unlabelled_text,
)


def arms_table(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.evaluation.evaluate.evaluate`: arms x metrics, and what to think of them."""
    names = [name for name in next(iter(result["arms"].values())) if name not in ("curve", "against_simulated")]
    primary, constant = result["primary"], result["constant"]
    test = result["test"]
    table = Table(title=f"tested on {test['n']} real images ({test['name']}, {result['split']})")
    table.add_column("trained on")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("against simulated", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    start = result["arms"]["simulated"][primary]["mean"]
    several = result["arms"]["simulated"][primary]["std"] is not None
    for arm, summary in result["arms"].items():
        table.add_row(arm, *(_cell(summary[name]) for name in names), *_against(summary["against_simulated"], start))
    table.add_row("constant", *(f"{constant[name]:.2f}" for name in names), "", "", style="dim")
    useless = [arm for arm, summary in result["arms"].items() if summary[primary]["mean"] > constant[primary]]
    return Group(
        table,
        *([f"useless, for always giving the same answer is better: {', '.join(useless)}"] if useless else []),
        compared_text(several),
        quality_table(result),
        *_preservation(result["preservation"]),
        *(f"warning: {said}" for said in result["warnings"]),
    )


def quality_table(result: Mapping[str, Any]) -> Group:
    """What the result says of each arm without labels of real images; nothing where it says nothing."""
    titles, rows = quality_rows(result.get("quality") or {}, result["primary"])
    if not titles:
        return Group()
    table = Table(title=UNLABELLED, padding=0)  # all of it fits a terminal of 80 columns
    table.add_column("images", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right")
    for arm, cells in rows.items():
        table.add_row(arm, *cells)
    return Group(table, unlabelled_text(result["primary"]))


def ablation_table(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.evaluation.ablation.ablate`: a row a combination."""
    rows, primary = result["rows"], result["primary"]
    test = rows[0]["test"]
    seeds = f"{result['seeds']} run{'s' if result['seeds'] > 1 else ''} each"
    table = Table(
        title=f"{result['recipe']}, {seeds}, tested on {test['n']} real images ({test['name']}, {result['split']})"
    )
    for title in rows[0]["settings"]:
        table.add_column(title, overflow="fold")
    for title in ("simulated", "refined", "difference", "p", "labels move, px", "change"):
        table.add_column(title, justify="right", overflow="fold", no_wrap=title == "p")
    for row in rows:
        simulated, refined = (row["arms"][arm] for arm in ("simulated", "refined"))
        against = _against(refined["against_simulated"], simulated[primary]["mean"])
        kept = row["preservation"]
        moved = f"{kept['shift_px']['mean']:.2f}" if kept else "-"
        change = f"{kept['change']:.3f}" if kept else "-"
        table.add_row(
            *row["settings"].values(), _cell(simulated[primary]), _cell(refined[primary]), *against, moved, change
        )
    note = f"simulated and refined: {primary}; {compared_text(result['seeds'] > 1)}"
    return Group(table, note, *_rule(result["rule"]))


def _rule(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    return [f"score without labels against true error: rank correlation {found['spearman']:+.2f}, {found['runs']} runs"]


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


def _cell(metric: Mapping[str, Any]) -> str:
    return mean_text(metric["mean"], metric["std"])


def _against(found: Mapping[str, Any] | None, start: float) -> tuple[str, str]:
    """The difference and its interval in per cent of the error to start from, and p."""
    if found is None:
        return "", ""
    return percent_text(found["difference"], start, found["interval"]), p_text(found["p"])


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


def _preservation(found: Mapping[str, Any]) -> list[str]:
    if not found:
        return []
    control = found["control_px"]
    unfit = "" if abs(control - 2) <= 0.2 else ": it is off, so do not trust this shift"
    error = found["detector_error_px"]
    accuracy = "" if error is None else f"detector error {error:.2f} px, "
    shift = found["shift_px"]
    return [
        f"labels: refining moves the landmarks by {shift['mean']:.2f} ± {shift['std']:.2f} px ({accuracy}"
        f"reads {control:.2f} px for a shift of 2 px{unfit})",
        f"change: mean |R(x) - x| {found['change']:.3f} on {found['n']} images",
    ]
