"""The arms as a table of text: mean ± deviation of every metric, and the difference to simulated images."""

from __future__ import annotations

from dataclasses import dataclass

from synthreal.evaluation import BASE, Arm, Evaluation, Metric
from synthreal.run.page.curves import dashes
from synthreal.run.page.panels import arm_curve
from synthreal.run.table import p_text


@dataclass(frozen=True)
class Row:
    """An arm: its name, the colour and dashes of its line, and its cells.

    Attributes:
        arm: its name.
        colour: name of a CSS variable; empty of the constant answer.
        dash: as SVG writes it.
        cells: a text for each metric.
        change: of the primary metric in per cent, with its interval; empty of ``simulated``.
        difference: the same in the metric's unit.
        p: of the paired test.
        useless: whether a constant answer is better.
    """

    arm: str
    colour: str
    dash: str
    cells: tuple[str, ...]
    change: str = ""
    difference: str = ""
    p: str = ""
    useless: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under the names of the metrics, the primary one first; ``compared`` says whether intervals are known."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    compared: bool


def arms_table(evaluation: Evaluation) -> Table:
    """The table of an evaluation."""
    primary, base = evaluation.primary, evaluation.arms[BASE]
    names = (primary, *(name for name in base.metrics if name != primary))
    rows = []
    for arm, summary in evaluation.arms.items():
        line = arm_curve(arm)
        change, difference, p = ("", "", "") if arm == BASE else against(summary, base, primary)
        useless = summary.metrics[primary].mean > evaluation.constant.get(primary, float("inf"))
        cells = tuple(cell(summary.metrics[name]) for name in names)
        rows.append(Row(arm, line.colour, dashes(line.dash), cells, change, difference, p, useless))
    constant = tuple(f"{evaluation.constant[name]:.2f}" if name in evaluation.constant else "" for name in names)
    rows.append(Row("a constant answer", "", "", constant))
    others = [summary for arm, summary in evaluation.arms.items() if arm != BASE]
    return Table(names, tuple(rows), all(summary.against is not None for summary in others))


def cell(metric: Metric) -> str:
    """Mean ± deviation."""
    return f"{metric.mean:.2f}" + ("" if metric.std is None else f" ± {metric.std:.2f}")


def against(arm: Arm, base: Arm, primary: str) -> tuple[str, str, str]:
    """Change in per cent, difference in the metric's unit, p: intervals and p where the file holds them."""
    start = base.metrics[primary].mean
    if arm.against is None:
        difference = arm.metrics[primary].mean - start
        return percent(difference, start), f"{difference:+.2f}", ""
    found = arm.against
    low, high = found.interval
    bounds = (f"{100 * bound / start:+.0f}" if start else "" for bound in found.interval)
    return (
        "{} ({} to {})".format(percent(found.difference, start), *bounds),
        f"{found.difference:+.2f} ({low:+.2f} to {high:+.2f})",
        p_text(found.p),
    )


def percent(difference: float, start: float) -> str:
    """A difference in per cent of where it starts."""
    return f"{100 * difference / start:+.0f} %" if start else ""
