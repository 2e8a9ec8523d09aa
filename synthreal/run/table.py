"""Tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table


def arms_table(result: Mapping[str, Any]) -> Group:
    """The result of :func:`synthreal.run.evaluate.evaluate`: arms x metrics, and what to think of them."""
    names = [name for name in next(iter(result["arms"].values())) if name != "curve"]
    primary, constant = result["primary"], result["constant"]
    test = result["test"]
    table = Table(title=f"tested on {test['n']} real images ({test['name']}, {result['split']})")
    table.add_column("trained on")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("against simulated", justify="right")
    start = result["arms"]["simulated"][primary]["mean"]
    for arm, summary in result["arms"].items():
        mean = summary[primary]["mean"]
        verdict = "useless: > constant" if mean > constant[primary] else f"{100 * (mean / start - 1):+.0f} %"
        table.add_row(arm, *(_cell(summary[name]) for name in names), verdict)
    table.add_row("constant", *(f"{constant[name]:.2f}" for name in names), "", style="dim")
    return Group(table, *_preservation(result["preservation"]), *(f"warning: {said}" for said in result["warnings"]))


def plugins_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What :func:`synthreal.hooks.catalog.inventory` found."""
    table = Table()
    for title in ("plugin", "distribution", "version", "registers"):
        table.add_column(title)
    for row in rows:
        given = [f"{kind}: {', '.join(names)}" for kind, names in row["registers"].items() if names]
        table.add_row(row["plugin"], row["distribution"], row["version"], "\n".join(given) or row["error"] or "nothing")
    return table


def _cell(metric: Mapping[str, Any]) -> str:
    spread = "" if metric["std"] is None else f" ± {metric['std']:.2f}"
    return f"{metric['mean']:.2f}{spread}"


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
