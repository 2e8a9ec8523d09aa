"""Which charts a page shows: losses, quality, and the share of test images within an error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from synthreal.evaluation.training_sets import REAL
from synthreal.report.curves import TALL, WIDE, Curve, Panel
from synthreal.report.record import Record, is_number
from synthreal.results.schema import BASE, Evaluation

# (field of the log, title, line of a discriminator that guesses)
LOSSES = (
    ("loss_regularization", "Self-regularization", None),
    ("loss_adversarial", "Adversarial loss of R", math.log(2)),
    ("loss_discriminator", "Loss of D", 2 * math.log(2)),
)
ACCURACIES = (("accuracy_real", "real", "real"), ("accuracy_refined", "refined", "refined"))
QUALITIES = (
    ("kid", "KID to real images"),
    ("sliced_wasserstein", "Sliced Wasserstein distance to real images"),
    ("spectrum", "Distance of radial spectra"),
    ("shift_px", "Shift of landmarks, px"),
    ("change", "Change, mean |R(x) - x|"),
    ("diversity", "Diversity, as a share of simulated images'"),
    ("score", "Score, by which the best step is chosen"),
)
MOST = 400
ENOUGH = 99  # per cent of images: where every arm is beyond, nothing more is to be seen
DASHES: tuple[tuple[float, ...], ...] = ((10, 3), (8, 2, 2, 2), (3, 2), (1.5, 1.5), (6, 2, 1.5, 2, 1.5, 2))
LOOKS: dict[str, tuple[str, tuple[float, ...]]] = {
    BASE: ("simulated", ()),
    "refined": ("refined", ()),
    "fda": ("series-2", DASHES[0]),
    "histogram": ("series-1", DASHES[1]),
    "pixel-distribution": ("series-3", DASHES[2]),
    "augment": ("series-4", DASHES[3]),
    "refined+augment": ("series-5", DASHES[4]),
    "mixed": ("series-6", ()),
    REAL: ("real", (5, 3)),
}


def loss_panels(record: Record) -> list[Panel]:
    """Losses and accuracies by step, as far as the log holds them."""
    panels = []
    for name, title, guessing in LOSSES:
        x, y = thinned(*record.series(name))
        if x:
            levels = () if guessing is None else ((guessing, "D guesses"),)
            panels.append(_by_step(record, name, title, [Curve(title, x, y, "accent")], levels, _edges(record)))
    curves = []
    for name, label, colour in ACCURACIES:
        x, y = thinned(*record.series(name))
        if x:
            curves.append(Curve(label, x, [100 * value for value in y], colour))
    if curves:
        levels = ((50, "D guesses"),)
        panels.append(_by_step(record, "accuracy", "Patches D calls rightly, %", curves, levels, _edges(record)))
    return panels


def quality_panels(record: Record) -> list[Panel]:
    """Quality by step with the level of simulated images and the best step, as far as the run holds them."""
    simulated, best = (_table(record.quality, name) for name in ("simulated", "best"))
    at = best.get("step", -1)
    panels = []
    for name, title in QUALITIES:
        x, y = record.series("quality", name)
        if not x:
            continue
        levels = ((simulated[name], "simulated"),) if name in simulated else ()
        panel = _by_step(record, f"quality-{name}", title, [Curve(title, x, y, "accent")], levels)
        if at in x:
            panel = replace(
                panel, best=(at, y[x.index(int(at))]), described=f"{panel.described}; best at step {at:.0f}"
            )
        panels.append(panel)
    return panels


def thinned(x: list[int], y: list[float]) -> tuple[list[int], list[float]]:
    """At most 400 points of a long line, each the mean of as many reports, at the step of the last of them."""
    each = math.ceil(len(x) / MOST)
    parts = [slice(start, start + each) for start in range(0, len(x), max(1, each))]
    return [x[part][-1] for part in parts], [statistics.fmean(y[part]) for part in parts]


def _by_step(
    record: Record,
    name: str,
    title: str,
    curves: Sequence[Curve],
    levels: Sequence[tuple[float, str]] = (),
    edges: Sequence[float] = (),
) -> Panel:
    """A panel over the whole run, described by where its lines begin and end."""
    told = "; ".join(
        f"{curve.label}: {curve.y[0]:.3g} at step {curve.x[0]:.0f}, {curve.y[-1]:.3g} at step {curve.x[-1]:.0f}"
        for curve in curves
    )
    return Panel(name, title, told, curves, levels=levels, edges=edges, x_limits=(0, 1.02 * record.log[-1]["step"]))


def error_panel(evaluation: Evaluation) -> Panel | None:
    """Per cent of test images within an error, a line an arm: the paper's Fig. 7 and Fig. 12; None without curves."""
    curves, axis = [], ""
    for arm, summary in evaluation.arms.items():
        if summary.curve is not None:
            axis = f"error at most, {summary.curve.unit}"
            curves.append(arm_curve(arm, summary.curve.threshold, summary.curve.percent))
    if not curves:
        return None
    told = "Per cent of test images by error: " + "; ".join(_middle(curve) for curve in curves)
    name = f"errors-{evaluation.split}"
    return Panel(
        name,
        "Images within an error",
        told,
        curves,
        x_label=axis,
        y_label="% of images",
        x_limits=(0, 1.02 * _enough(curves)),
        y_limits=(0, 102),
        sizes=(WIDE, TALL),
    )


def gain_panel(evaluation: Evaluation) -> Panel | None:
    """How many more images than with ``simulated`` are within an error, in points; None without arms to compare.

    Nine lines that rise from 0 to 100 lie on each other; here what parts them has the whole height.
    """
    base, whole = evaluation.arms[BASE].curve, error_panel(evaluation)
    if base is None or whole is None:
        return None
    curves = []
    for curve in whole.curves:
        if curve.label != BASE and tuple(curve.x) == base.threshold:
            more = [y - level for y, level in zip(curve.y, base.percent, strict=True)]
            curves.append(replace(curve, y=more))
    if not curves:
        return None
    told = []
    for curve in curves:
        most = max(range(len(curve.y)), key=lambda place: abs(curve.y[place]))
        told.append(f"{curve.label} {curve.y[most]:+z.0f} within {curve.x[most]:g}")
    return replace(
        whole,
        name=f"gains-{evaluation.split}",
        title="Against simulated: more or fewer images within an error",
        described="Where an arm is farthest from simulated, in points: " + "; ".join(told),
        curves=curves,
        y_label="points",
        levels=((0, BASE),),
        y_limits=None,
    )


def arm_curve(arm: str, x: Sequence[float] = (), y: Sequence[float] = ()) -> Curve:
    """The line of an arm, of the same colour and dashes on every page."""
    place = sum(map(ord, arm))  # of an arm somebody else has made
    colour, dash = LOOKS.get(arm, (f"series-{place % 6 + 1}", DASHES[place % len(DASHES)]))
    return Curve(arm, x, y, colour, dash, 2.6 if arm == "refined" else 1.8)


def _enough(curves: Sequence[Curve]) -> float:
    """The error within which nearly all images of every arm are; the last one where they never are."""
    return max(next((x for x, y in zip(curve.x, curve.y, strict=True) if y >= ENOUGH), curve.x[-1]) for curve in curves)


def _edges(record: Record) -> list[float]:
    """Where R's training alone ends, and D's; none where the log does not reach it."""
    schedule, last = record.config.schedule, record.log[-1]["step"]
    ends = (schedule.refiner_steps, schedule.refiner_steps + schedule.discriminator_steps)
    return [float(end) for end in dict.fromkeys(ends) if 0 < end < last]


def _table(tree: Mapping[str, object], name: str) -> Mapping[str, float]:
    found = tree.get(name)
    return {key: value for key, value in found.items() if is_number(value)} if isinstance(found, Mapping) else {}


def _middle(curve: Curve) -> str:
    at = len(curve.x) // 2
    return f"{curve.label} {curve.y[at]:.0f} % within {curve.x[at]:g}"
