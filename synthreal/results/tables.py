"""The tables and numbers of an evaluation as text, the same in the terminal, in the model card and on the pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from synthreal.results.schema import (
    BASE,
    CONTROL_PX,
    FILES,
    Ablation,
    Arm,
    Evaluation,
    Metric,
    Quality,
    Quantity,
    Shift,
    is_misread,
)

SMALLEST_P = 1e-300  # smaller values approach the limit of a float and are printed as a bound
QUALITY_COLUMNS = ("KID", "KID est", "SWD", "spectrum", "C2ST", "p", "moved", "drift")


@dataclass(frozen=True)
class Table:
    """A table of text, whose first column names the row, and sentences that explain the numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """The arms, errors by cause, quality without labels and label preservation, if the evaluation holds them."""
    tables = (
        arms_table(evaluation),
        calibration_table(evaluation),
        confusion_table(evaluation),
        quality_table(evaluation),
        preservation_table(evaluation),
        displacement_table(evaluation),
    )
    return [table for table in tables if table is not None]


def arms_table(evaluation: Evaluation) -> Table | None:
    """Every metric of every arm, the primary metric first, and the comparison with ``simulated``; None without arms."""
    if evaluation.test is None:
        return None
    base, primary = evaluation.arms[BASE], evaluation.primary
    metrics = (primary, *(name for name in base.metrics if name != primary))
    rows = [
        (arm, *(mean_text(found.metrics[name]) for name in metrics), *comparison_cells(found, base, primary))
        for arm, found in evaluation.arms.items()
    ]
    rows.append(("constant", *(f"{evaluation.constant[name]:.2f}" for name in metrics), "", ""))
    notes = []
    if base.metrics[primary].std is not None:
        notes.append(f"Mean ± standard deviation over {len(base.metrics[primary].seeds)} trainings.")
    notes.append(f"constant: the same answer for every image. {comparison_note(evaluation)}")
    constant = evaluation.constant[primary]
    if worse := [arm for arm, found in evaluation.arms.items() if found.metrics[primary].mean > constant]:
        notes.append(f"Useless, because a constant answer is better: {', '.join(worse)}.")
    title = f"Tested on {evaluation.test.n:,} real images ({evaluation.test.name}, {evaluation.split})"
    return Table(title, ("trained on", *metrics, "against simulated", "p"), tuple(rows), tuple(notes))


def calibration_table(evaluation: Evaluation) -> Table | None:
    """The error of each arm by cause, and after calibration with a few photographs; None for a task of classes."""
    if not evaluation.calibration:
        return None
    primary, rows, several = evaluation.primary, [], False
    images = evaluation.calibration[BASE].images
    for arm, found in evaluation.calibration.items():
        error = evaluation.arms[arm].metrics[primary].mean
        cells = [f"{error:.2f}"]
        if images is not None:
            cells.append("-" if found.error is None else _corrected_text(found.error, found.std, error))
        for name, quantity in found.quantities.items():
            rows.append((arm, name, *_cause_cells(quantity), *cells))
            several = several or len(quantity.offset) > 1
            cells = [""] * len(cells)
    notes = [
        "Offset: mean of prediction - truth; slope: of predictions over the truth, 1 is right; scatter: deviation from "
        "that line." + " Over several places: root mean squares, and the mean slope." * several
    ]
    columns: tuple[str, ...] = ("trained on", "quantity", "offset", "slope", "scatter", primary)
    if images is not None:
        columns += (f"with {images} labelled",)
        notes.append(
            f"With {images} labelled: {primary} after an affine correction of each quantity, fitted to as many "
            "labelled real images; mean ± standard deviation over choices of them. Compare with real: a noisy "
            "estimator answers near the mean, so a slope below 1 need not be the simulator's fault."
        )
    return Table("Offset and scatter", columns, tuple(rows), tuple(notes))


def confusion_table(evaluation: Evaluation) -> Table | None:
    """The errors of each arm by true class, and what is mostly answered instead; None unless the task is of classes."""
    if not evaluation.confusion:
        return None
    by_class = list(zip(*(found.counts for found in evaluation.confusion.values()), strict=True))
    names = [*evaluation.classes, *map(str, range(len(evaluation.classes), len(by_class)))]
    rows = [(names[true], *(_class_text(counts, true, names) for counts in arms)) for true, arms in enumerate(by_class)]
    note = "Errors in % of the images of a class, and the most frequent wrong answer. "
    note += f"{FILES[evaluation.split]} has all counts."
    return Table("Errors by class", ("class", *evaluation.confusion), tuple(rows), (note,))


def _class_text(counts: Sequence[int], true: int, names: Sequence[str]) -> str:
    """Per cent of wrong answers to the images of a class, and the most frequent one; "-" without images."""
    if not (total := sum(counts)):
        return "-"
    wrong = [0 if answered == true else count for answered, count in enumerate(counts)]
    share = f"{100 * sum(wrong) / total:.0f}"
    return f"{share} ({names[wrong.index(max(wrong))]})" if any(wrong) else share


def _cause_cells(quantity: Quantity) -> tuple[str, str, str]:
    slopes = [slope for slope in quantity.slope if slope is not None]
    offset, scatter = (math.hypot(*values) / math.sqrt(len(values)) for values in (quantity.offset, quantity.scatter))
    shown = f"{quantity.offset[0]:+z.2f}" if len(quantity.offset) == 1 else f"{offset:.2f}"
    return shown, f"{sum(slopes) / len(slopes):.2f}" if slopes else "-", f"{scatter:.2f}"


def _corrected_text(error: float, std: float | None, before: float) -> str:
    change = f" ({100 * (error / before - 1):+z.0f} %)" if before else ""
    return mean_text(Metric(mean=error, std=std)) + change


def quality_table(evaluation: Evaluation) -> Table | None:
    """Realism and label drift of each arm, measured without labels; None if nothing was measured."""
    cells = {arm: _quality_cells(quality, evaluation.primary) for arm, quality in evaluation.quality.items()}
    columns = tuple(title for title in QUALITY_COLUMNS if any(title in row for row in cells.values()))
    if not columns:
        return None
    rows = tuple((arm, *(row.get(title, "-") for title in columns)) for arm, row in cells.items())
    notes = ["Distances to unlabelled real images, lower is closer: KID on random features"]
    notes[0] += " and on the estimator's (est)" * ("KID est" in columns) + ", SWD (sliced Wasserstein), spectrum (dB)."
    if "C2ST" in columns:
        notes.append(
            "C2ST: accuracy of a new classifier that separates the images from real ones, 50 % is chance; p: "
            "probability of that accuracy by chance."
        )
    if "moved" in columns:
        notes.append("Moved: mean displacement of content from the simulated images, px.")
    if "drift" in columns:
        notes.append(
            f"Drift: {evaluation.primary} between the estimator's predictions before and after, an upper bound on the "
            "error added to the labels."
        )
    return Table("Quality without labels", ("images", *columns), rows, (" ".join(notes),))


def preservation_table(evaluation: Evaluation) -> Table | None:
    """How far refining moves landmarks; None if the domain has no landmark detector."""
    if (found := evaluation.preservation) is None:
        return None
    rows = [
        ("landmark shift by refining", f"{mean_text(found.shift_px)} px"),
        (f"measured for a shift of {CONTROL_PX} px", f"{found.control_px:.2f} px"),
        ("mean |R(x) - x|", f"{found.change:.3f}"),
        ("images", f"{found.n:,}"),
    ]
    if found.detector_error_px is not None:
        rows.insert(1, ("error of the detector", f"{found.detector_error_px:.2f} px"))
    note = f"The detector misreads a shift of {CONTROL_PX} px: do not trust the landmark shift."
    return Table(
        "Label preservation", ("measure", "value"), tuple(rows), (note,) if is_misread(found.control_px) else ()
    )


def displacement_table(evaluation: Evaluation) -> Table | None:
    """How far refining moves the content of images; None if it was not measured."""
    if (found := evaluation.displacement) is None:
        return None
    rows = (
        ("mean displacement by refining", _px(found.mean_px)),
        ("95th percentile", _px(found.p95_px)),
        ("invented or erased", f"{found.unmatched:.1%}"),
        (f"measured for a shift of {CONTROL_PX} px", f"{found.control_px:.2f} px"),
        ("images", f"{found.n:,}"),
    )
    note = f"On these images a shift of {CONTROL_PX} px is misread: do not trust the displacement."
    return Table("Displacement of content", ("measure", "value"), rows, (note,) if is_misread(found.control_px) else ())


def _px(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} px"


def ablation_table(ablation: Ablation) -> Table:
    """Simulated and refined images under every combination of settings."""
    cells, first = [], ablation.rows[0]
    for row in ablation.rows:
        arms, shift = row.evaluation.arms, row.evaluation.preservation
        simulated, refined = arms[BASE], arms["refined"]
        metrics = (mean_text(arm.metrics[ablation.primary]) for arm in (simulated, refined))
        comparison = comparison_cells(refined, simulated, ablation.primary)
        moved = ("-", "-") if shift is None else (f"{shift.shift_px.mean:.2f}", f"{shift.change:.3f}")
        cells.append((*row.settings.values(), *metrics, *comparison, *moved))
    runs, test = f"{ablation.seeds} run{'s' * (ablation.seeds > 1)} each", first.evaluation.test
    assert test is not None, "ablate() needs labelled real images"
    title = f"{ablation.recipe}, {runs}, tested on {test.n:,} real images ({test.name}, {ablation.split})"
    columns = (*first.settings, "simulated", "refined", "difference", "p", "shift, px", "change")
    note = f"simulated, refined: {ablation.primary}; shift: of landmarks by refining; change: mean |R(x) - x|."
    return Table(title, columns, tuple(cells), (note, comparison_note(first.evaluation)))


def p_text(p: float) -> str:
    """A p value: 0.148, 9.9e-20 or < 1e-300."""
    if p < SMALLEST_P:
        return "< 1e-300"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def mean_text(found: Metric | Shift) -> str:
    """Mean ± standard deviation, or the mean alone when ``std`` is None."""
    return f"{found.mean:.2f}" + ("" if found.std is None else f" ± {found.std:.2f}")


def difference_text(difference: float, start: float, interval: Sequence[float]) -> str:
    """A difference and its interval in per cent of ``start``, or in the metric's unit when ``start`` is 0."""
    low, high = interval
    if not start:
        return f"{difference:+z.2f} ({low:+z.2f} to {high:+z.2f})"
    change, low, high = (100 * value / start for value in (difference, low, high))
    return f"{change:+z.0f} % ({low:+z.0f} to {high:+z.0f})"


def comparison_cells(arm: Arm, base: Arm, primary: str) -> tuple[str, str]:
    """Difference of an arm from ``simulated`` with its interval, and p; empty for ``simulated`` itself."""
    if (against := arm.against) is None:
        return "", ""
    return difference_text(against.difference, base.metrics[primary].mean, against.interval), p_text(against.p)


def comparison_note(evaluation: Evaluation) -> str:
    """How the interval and the p value of :func:`comparison_cells` are computed."""
    several = evaluation.arms[BASE].metrics[evaluation.primary].std is not None
    over = "images and trainings (too narrow for few trainings)" if several else "images"
    return (
        f"Against simulated: mean difference in {evaluation.primary} (below 0 is better) and its 95 % interval, "
        f"bootstrap over {over}; p: Wilcoxon signed-rank test over images. It compares ranks, so the two can disagree."
    )


def _quality_cells(quality: Quality, primary: str) -> dict[str, str]:
    distances = (quality.kid, quality.kid_estimator, quality.sliced_wasserstein, quality.spectrum)
    pairs = zip(QUALITY_COLUMNS, distances, strict=False)
    cells = {title: f"{value:z.3f}" for title, value in pairs if value is not None}
    if (test := quality.two_sample) is not None:
        cells |= {"C2ST": f"{100 * test.accuracy:.1f} %", "p": p_text(test.p)}
    if quality.displacement_px is not None:
        cells["moved"] = f"{quality.displacement_px:.2f}"
    if quality.drift and primary in quality.drift:
        cells["drift"] = f"{quality.drift[primary]:.2f}"
    return cells
