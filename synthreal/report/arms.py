"""The arms as a table of text: mean ± deviation of every metric, and the difference to simulated images."""

from __future__ import annotations

from dataclasses import dataclass

from synthreal.report.curves import dashes
from synthreal.report.panels import arm_curve
from synthreal.results.format import compared_text, mean_text, p_text, percent_text, quality_rows, unlabelled_text
from synthreal.results.schema import BASE, Arm, Evaluation, Metric


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
    """Rows under the names of the metrics, the primary one first; ``note`` says what the numbers are, where known."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str


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
    known = all(summary.against is not None for summary in others)
    return Table(names, tuple(rows), compared_text(base.metrics[primary].std is not None) if known else "")


def quality_table(evaluation: Evaluation) -> Table | None:
    """What is known of the arms without labels of real images; None where nothing is."""
    found = {arm: quality.model_dump() for arm, quality in evaluation.quality.items()}
    titles, cells = quality_rows(found, evaluation.primary)
    if not titles:
        return None
    lines = {arm: arm_curve(arm) for arm in cells}
    rows = tuple(Row(arm, line.colour, dashes(line.dash), cells[arm]) for arm, line in lines.items())
    return Table(titles, rows, unlabelled_text(evaluation.primary))


def cell(metric: Metric) -> str:
    """Mean ± deviation."""
    return mean_text(metric.mean, metric.std)


def against(arm: Arm, base: Arm, primary: str) -> tuple[str, str, str]:
    """Change in per cent, difference in the metric's unit, p: intervals and p where the file holds them."""
    start = base.metrics[primary].mean
    if arm.against is None:
        difference = arm.metrics[primary].mean - start
        return percent_text(difference, start), f"{difference:+z.2f}", ""
    found = arm.against
    low, high = found.interval
    return (
        percent_text(found.difference, start, found.interval),
        f"{found.difference:+z.2f} ({low:+z.2f} to {high:+z.2f})",
        p_text(found.p),
    )
