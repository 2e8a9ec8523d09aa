"""The charts of the page, drawn by matplotlib as SVG: losses, quality and error curves.

All charts have one size and matplotlib's own look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from synthreal.evaluation.training_sets import ARMS, TAUGHT, TEACHER
from synthreal.report.images import data_url
from synthreal.report.record import Record
from synthreal.results.schema import BASE, Evaluation
from synthreal.train.log import is_number

CHANCE = "D at chance"
# (field of the log, title, level of a discriminator that guesses)
LOSSES = (
    ("loss_regularization", "Self-regularization loss", None),
    ("loss_adversarial", "Adversarial loss of R", (CHANCE, math.log(2))),
    ("loss_discriminator", "Loss of D", (CHANCE, 2 * math.log(2))),
)
QUALITIES = (
    ("kid", "KID to real images"),
    ("sliced_wasserstein", "Sliced Wasserstein distance to real images"),
    ("spectrum", "Distance between radial spectra"),
    ("shift_px", "Shift of landmarks or content, px"),
    ("change", "Mean |R(x) - x|"),
    ("diversity", "Diversity relative to simulated images"),
    ("score", "Score that selects the best step"),
)
MOST_POINTS = 400
STYLE = {
    "figure.figsize": (5, 3.3),
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.alpha": 0.4,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "text.parse_math": False,
    "svg.hashsalt": "synthreal",
}
# Colour and dashes (ink and gap in points) of each arm, for readers who cannot distinguish colours; one with a teacher
# has those of the arm in front, and crosses.
UNTAUGHT = [arm for arm in ARMS if arm not in TAUGHT]
DASHES = "1,0 4,1 1,1 6,1,1,1 8,2 2,2 4,1,1,1,1,1 8,1,4,1 1,3 2,1,6,1".split()

Line = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Chart:
    """A line chart."""

    title: str
    lines: Mapping[str, Line]  # label -> x and y
    x_label: str = "step"
    y_label: str = ""
    level: tuple[str, float] | None = None  # label and y of a horizontal line for comparison
    edges: Sequence[float] = ()  # x of vertical lines
    best: tuple[float, float] | None = None  # a point to mark
    x_limit: float | None = None  # the end of the x axis; None fits the data

    @property
    def description(self) -> str:
        """The first and the last value of each line, for readers who cannot see the chart."""
        ends = (f"{label} from {y[0]:.3g} to {y[-1]:.3g}" for label, (_, y) in self.lines.items())
        return f"{self.title}: {'; '.join(ends)}"


def draw(chart: Chart) -> str:
    """A chart as the data URL of an SVG; equal charts give equal bytes."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
        figure = Figure()
        axes = figure.add_subplot(xlabel=chart.x_label, ylabel=chart.y_label)
        for edge in chart.edges:
            axes.axvline(edge, color="lightgrey")
        if chart.level is not None:
            axes.axhline(chart.level[1], color="grey", linestyle="--", label=chart.level[0])
        for label, (x, y) in chart.lines.items():
            arm = label.removesuffix(TEACHER)
            number = UNTAUGHT.index(arm) if arm in UNTAUGHT else 0
            dashes = [float(length) for length in DASHES[number].split(",")]
            marker = "x" if arm != label else "." if len(x) < 4 else ""
            axes.plot(x, y, dashes=dashes, color=f"C{number}", label=label, marker=marker)
        if chart.best is not None:
            axes.plot(*chart.best, "ko", markersize=9, fillstyle="none", label="best step")
        axes.set_xlim(left=0, right=chart.x_limit)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            figure.legend(loc="outside lower center", ncols=3)
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return data_url("svg+xml", file.getvalue())


def loss_charts(record: Record) -> Iterator[Chart]:
    """The losses that the log holds, lambda if it is adapted, and the accuracy of D on real and on refined patches."""
    schedule = record.config.schedule
    ends = {schedule.refiner_steps, schedule.refiner_steps + schedule.discriminator_steps}
    edges = sorted(end for end in ends if 0 < end < record.log[-1]["step"])
    for name, title, level in LOSSES:
        if line := average_line(*record.series(name)):
            yield Chart(title, {"loss": line}, level=level, edges=edges)
    if line := average_line(*record.series("loss_weight")):
        yield Chart("Weight of the self-regularization loss (lambda)", {"lambda": line}, edges=edges)
    accuracies = {name: average_line(*record.series(f"accuracy_{name}")) for name in ("real", "refined")}
    if lines := {name: (line[0], [100 * value for value in line[1]]) for name, line in accuracies.items() if line}:
        yield Chart("Patches that D classifies correctly, %", lines, level=(CHANCE, 50), edges=edges)


def quality_charts(record: Record) -> Iterator[Chart]:
    """The quality measurements of the log, with the value of simulated images and the best step if known."""
    simulated, best = (record.quality.get(name) or {} for name in ("simulated", "best"))
    for name, title in QUALITIES:
        steps, values = record.series("quality", name)
        if steps:
            level = (BASE, simulated[name]) if is_number(simulated.get(name)) else None
            step = best.get("step")
            point = (step, values[steps.index(step)]) if step in steps else None
            yield Chart(title, {"refined": (steps, values)}, level=level, best=point)


def average_line(steps: Sequence[int], values: Sequence[float]) -> Line | None:
    """A long line as at most 400 means, each at the last step it covers; None for an empty line."""
    if not steps:
        return None
    parts = np.array_split(np.arange(len(steps)), min(len(steps), MOST_POINTS))
    return [steps[part[-1]] for part in parts], [float(np.mean([values[i] for i in part])) for part in parts]


def error_charts(evaluation: Evaluation) -> Iterator[Chart]:
    """Share of test images within an error (Fig. 7 and 12 of the paper), and its difference from ``simulated``."""
    curves = {arm: found.curve for arm, found in evaluation.arms.items() if found.curve is not None}
    if (base := curves.get(BASE)) is None:
        return
    x = base.threshold
    lines = {arm: (x, curve.percent) for arm, curve in curves.items()}
    within = (error for i, error in enumerate(x) if all(curve.percent[i] >= 99 for curve in curves.values()))
    limit, x_label = next(within, x[-1]), f"error at most, {base.unit}"
    yield Chart("Images within an error", lines, x_label, "% of images", x_limit=limit)
    if gains := {arm: (x, list(np.subtract(y, base.percent))) for arm, (_, y) in lines.items() if arm != BASE}:
        title = "Images within an error, difference from simulated"
        yield Chart(title, gains, x_label, "percentage points", (BASE, 0), x_limit=limit)
