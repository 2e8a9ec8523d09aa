"""What the page says in words and small tables: the summary, the data, the warnings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthreal.config import SourceConfig
from synthreal.data.pack import Pack
from synthreal.errors import UserError
from synthreal.report.arms import against, cell
from synthreal.report.record import Record
from synthreal.results.format import equals_p
from synthreal.results.schema import BASE, Evaluation, Preservation
from synthreal.spec import ROLES
from synthreal.train.sources import CACHE

CONTROL_PX = 2  # the shift the detector's control must read, and by how much it may miss it
SLACK_PX = 0.2


@dataclass(frozen=True)
class Card:
    """A figure of the summary: what it is, the figure, and a remark."""

    title: str
    figure: str
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """A data set in a role."""

    role: str
    name: str
    images: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Warned:
    """A warning in its last wording, and when it was given."""

    text: str
    when: str


def summary(record: Record) -> list[Card]:
    """The figures at the top of the page."""
    last, total = record.log[-1]["step"], record.config.schedule.total
    speed = record.series("images_per_second")[1]
    cards = [
        Card(
            "steps",
            f"{last:,} of {total:,}",
            f"{sorted(speed)[len(speed) // 2]:,.0f} images/s" if speed else "",
        )
    ]
    for evaluation in record.evaluations[:1]:
        cards += _judged(evaluation)
    return cards


def _judged(evaluation: Evaluation) -> Iterator[Card]:
    base, refined, primary = evaluation.arms[BASE], evaluation.arms.get("refined"), evaluation.primary
    if refined is not None:
        name, _, unit = primary.rpartition("_")
        means = f"{cell(base.metrics[primary])} → {cell(refined.metrics[primary])} {unit}"
        change, _, _ = against(refined, base, primary)
        yield Card("simulated → refined", change.partition(" (")[0], f"{name or 'metric'} {means}")
        if refined.against is not None and change:
            yield Card("95 % interval", change.partition(" (")[2].removesuffix(")") + " %", equals_p(refined.against.p))
    if evaluation.preservation is not None:
        kept = evaluation.preservation
        yield Card(
            "labels move by", f"{kept.shift_px.mean:.2f} px", f"± {kept.shift_px.std:.2f} px over {kept.n:,} images"
        )


def preserved(kept: Preservation) -> list[tuple[str, str]]:
    """Label preservation as a list of what and how much."""
    off = abs(kept.control_px - CONTROL_PX) > SLACK_PX
    rows = [
        ("refining moves the landmarks by", f"{kept.shift_px.mean:.2f} ± {kept.shift_px.std:.2f} px"),
        (
            "the detector reads a shift of exactly 2 px as",
            f"{kept.control_px:.2f} px" + (": it is off, do not trust this shift" if off else ""),
        ),
        ("mean |R(x) - x|", f"{kept.change:.3f} of the range 0 to 1"),
        ("images", f"{kept.n:,}"),
    ]
    if kept.detector_error_px is not None:
        rows.insert(1, ("the detector's own error", f"{kept.detector_error_px:.2f} px"))
    return rows


def data(record: Record) -> list[Row]:
    """The data sets of a run by role."""
    rows = []
    for role in ROLES:
        source: SourceConfig | None = getattr(record.config.data, role)
        if source is not None:
            options = tuple((key, _text(value)) for key, value in source.options.items())
            rows.append(Row(role, source.name, _images(record.run, role, source), options))
    return rows


def warnings(record: Record) -> list[Warned]:
    """What the run, its evaluation and this page warned of, each once whatever its numbers."""
    seen: dict[str, tuple[str, list[int]]] = {}
    for line in record.log:
        for text in map(str, line["warnings"]):
            _, steps = seen.get(_shape(text), ("", []))
            seen[_shape(text)] = text, [*steps, line["step"]]
    found = [Warned(text, _steps(steps)) for text, steps in seen.values()]
    for evaluation in record.evaluations:
        found += [Warned(text, f"{evaluation.split} evaluation") for text in evaluation.warnings]
    return found + [Warned(text, "this page") for text in record.notes]


def _shape(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", text)


def _steps(steps: list[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]:,}"
    return f"{len(steps)} times, steps {steps[0]:,} to {steps[-1]:,}"


def _images(run: Path, role: str, source: SourceConfig) -> str:
    """How many images, and how many files could not be read: counted where a pack lies, else what was asked for."""
    path = Path(str(source.options.get("path"))) if source.name == "pack" else run / CACHE / f"{role}.h5"
    try:
        if path.is_file():
            with Pack(path) as pack:
                count = len(pack) if source.count is None else min(len(pack), source.count)
                skipped = f", {len(pack.skipped):,} unreadable skipped" if pack.skipped else ""
                return f"{count:,}{skipped}"
    except UserError:
        pass  # damaged since; what was asked for stands in the configuration
    return "all, or without end" if source.count is None else f"{source.count:,}"


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
