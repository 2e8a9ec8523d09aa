"""The tables of an evaluation as text; the terminal, the model card and the HTML page only render them."""

from __future__ import annotations

from dataclasses import dataclass

from synthreal.results.format import difference_text, mean_text, p_text
from synthreal.results.schema import BASE, Ablation, Arm, Evaluation, Metric, Quality

CONTROL_PX = 2  # the detector is tested on images shifted by exactly this much
CONTROL_TOLERANCE_PX = 0.2
QUALITY_COLUMNS = ("KID", "KID est", "SWD", "spectrum", "C2ST", "p", "drift")


@dataclass(frozen=True)
class Table:
    """A table of text, whose first column names the row, and sentences that explain the numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """The arms, then quality without labels and label preservation if the evaluation holds them."""
    tables = (arms_table(evaluation), quality_table(evaluation), preservation_table(evaluation))
    return [table for table in tables if table is not None]


def arms_table(evaluation: Evaluation) -> Table:
    """Every metric of every arm, the primary metric first, and the comparison with ``simulated``."""
    base, primary = evaluation.arms[BASE], evaluation.primary
    metrics = (primary, *(name for name in base.metrics if name != primary))
    rows = [
        (arm, *(metric_text(found.metrics[name]) for name in metrics), *comparison_cells(found, base, primary))
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


def quality_table(evaluation: Evaluation) -> Table | None:
    """Realism and label drift of each arm, measured without labels; None if nothing was measured."""
    cells = {arm: _quality_cells(quality, evaluation.primary) for arm, quality in evaluation.quality.items()}
    columns = tuple(title for title in QUALITY_COLUMNS if any(title in row for row in cells.values()))
    if not columns:
        return None
    rows = tuple((arm, *(row.get(title, "-") for title in columns)) for arm, row in cells.items())
    note = (
        "Distances to unlabelled real images, lower is closer: KID on random features and on the estimator's (est), "
        "SWD (sliced Wasserstein), spectrum (dB). C2ST: accuracy of a new classifier that separates the images from "
        "real ones, 50 % is chance; p: probability of that accuracy by chance. Drift: "
        f"{evaluation.primary} between the estimator's predictions before and after, an upper bound on the label error."
    )
    return Table("Quality without labels", ("images", *columns), rows, (note,))


def preservation_table(evaluation: Evaluation) -> Table | None:
    """How far refining moves landmarks; None if the domain has no landmark detector."""
    found = evaluation.preservation
    if found is None:
        return None
    rows = [
        ("landmark shift by refining", f"{mean_text(found.shift_px.mean, found.shift_px.std)} px"),
        (f"measured for a shift of {CONTROL_PX} px", f"{found.control_px:.2f} px"),
        ("mean |R(x) - x|", f"{found.change:.3f}"),
        ("images", f"{found.n:,}"),
    ]
    if found.detector_error_px is not None:
        rows.insert(1, ("error of the detector", f"{found.detector_error_px:.2f} px"))
    misread = abs(found.control_px - CONTROL_PX) > CONTROL_TOLERANCE_PX
    note = f"The detector misreads a shift of {CONTROL_PX} px: do not trust the landmark shift."
    return Table("Label preservation", ("measure", "value"), tuple(rows), (note,) if misread else ())


def ablation_table(ablation: Ablation) -> Table:
    """Simulated and refined images under every combination of settings."""
    cells, first = [], ablation.rows[0]
    for row in ablation.rows:
        arms, shift = row.evaluation.arms, row.evaluation.preservation
        simulated, refined = arms[BASE], arms["refined"]
        metrics = (metric_text(arm.metrics[ablation.primary]) for arm in (simulated, refined))
        comparison = comparison_cells(refined, simulated, ablation.primary)
        moved = ("-", "-") if shift is None else (f"{shift.shift_px.mean:.2f}", f"{shift.change:.3f}")
        cells.append((*row.settings.values(), *metrics, *comparison, *moved))
    runs, test = f"{ablation.seeds} run{'s' * (ablation.seeds > 1)} each", first.evaluation.test
    title = f"{ablation.recipe}, {runs}, tested on {test.n:,} real images ({test.name}, {ablation.split})"
    columns = (*first.settings, "simulated", "refined", "difference", "p", "shift, px", "change")
    note = f"simulated, refined: {ablation.primary}; shift: of landmarks by refining; change: mean |R(x) - x|."
    return Table(title, columns, tuple(cells), (note, comparison_note(first.evaluation)))


def metric_text(metric: Metric) -> str:
    """Mean ± standard deviation of a metric."""
    return mean_text(metric.mean, metric.std)


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
    if quality.drift and primary in quality.drift:
        cells["drift"] = f"{quality.drift[primary]:.2f}"
    return cells
