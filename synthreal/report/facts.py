"""The facts that the page states in text: the summary, the data sets, the warnings."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

from synthreal.config import SourceConfig
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.report.record import Record
from synthreal.results.format import mean_text
from synthreal.results.schema import BASE
from synthreal.results.tables import comparison_cells, metric_text
from synthreal.spec import ROLES
from synthreal.train.sources import CACHE


def summary(record: Record) -> list[tuple[str, str, str]]:
    """Title, value and remark of each number at the top of the page."""
    last, total = record.log[-1]["step"], record.config.schedule.total
    _, speed = record.series("images_per_second")
    rows = [("steps", f"{last:,} of {total:,}", f"{median(speed):,.0f} images/s" if speed else "")]
    for evaluation in record.evaluations[:1]:
        base, refined, primary = evaluation.arms[BASE], evaluation.arms.get("refined"), evaluation.primary
        if refined is not None:
            change, p = comparison_cells(refined, base, primary)
            means = " → ".join(metric_text(arm.metrics[primary]) for arm in (base, refined))
            rows.append(("refined against simulated", change, f"{primary} {means}, p {p}"))
        if (shift := evaluation.preservation) is not None:
            moved = f"{mean_text(shift.shift_px.mean, shift.shift_px.std)} px"
            rows.append(("landmark shift", moved, f"over {shift.n:,} images"))
    return rows


def data_rows(record: Record) -> list[tuple[str, ...]]:
    """Role, name, number of images and options of each data set."""
    rows: list[tuple[str, ...]] = []
    for role in ROLES:
        source: SourceConfig | None = getattr(record.config.data, role)
        if source is not None:
            options = (f"{key} = {'none' if value is None else value}" for key, value in source.options.items())
            rows.append((role, source.name, _image_count(record.run, role, source), ", ".join(options)))
    return rows


def warnings(record: Record) -> list[tuple[str, str]]:
    """Warnings of the run, its evaluations and the page with their origin, merged if they differ only in numbers."""
    texts: dict[str, str] = {}
    steps: dict[str, list[int]] = {}
    for line in record.log:
        for text in line["warnings"]:
            key = re.sub(r"\d[\d.,]*", "#", text)
            texts[key] = text
            steps.setdefault(key, []).append(line["step"])
    return [
        *((text, _steps_text(steps[key])) for key, text in texts.items()),
        *((text, f"{found.split} evaluation") for found in record.evaluations for text in found.warnings),
        *((text, "this page") for text in record.notes),
    ]


def _steps_text(steps: list[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]:,}"
    return f"{len(steps)} times, steps {steps[0]:,} to {steps[-1]:,}"


def _image_count(run: Path, role: str, source: SourceConfig) -> str:
    """The number of images and of unreadable files if there is a pack to count in, else the configured number."""
    path = Path(str(source.options.get("path"))) if source.name == "pack" else run / CACHE / f"{role}.h5"
    try:
        if path.is_file():
            with Pack(path) as pack:
                count = len(pack) if source.count is None else min(len(pack), source.count)
                skipped = f", {len(pack.skipped):,} unreadable skipped" if pack.skipped else ""
                return f"{count:,}{skipped}"
    except UserError:
        pass  # the pack was damaged after the run
    return "all, or endless" if source.count is None else f"{source.count:,}"
