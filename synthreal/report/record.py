"""The files of a run directory, read for the page; nothing is computed here."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthreal.config import ResolvedConfig
from synthreal.config.toml import read_toml
from synthreal.errors import UserError
from synthreal.inference.pretrained import CONFIG, LOG, SHEETS, read_config
from synthreal.results.schema import Evaluation, read_evaluations, reason
from synthreal.train.monitor import FILE as QUALITY

PNG = b"\x89PNG\r\n\x1a\n"
SHEET = re.compile(r"step-(\d+)\.png")


@dataclass(frozen=True)
class Record:
    """The content of a run directory."""

    run: Path  # as the user named it
    config: ResolvedConfig
    toml: str  # the text of config.toml
    versions: Mapping[str, str]  # distribution -> version
    log: tuple[Mapping[str, Any], ...]  # the lines of log.jsonl, in order
    sheets: tuple[tuple[int, Path], ...]  # step and file of each contact sheet, in order of steps
    evaluations: tuple[Evaluation, ...]  # of the test split, then of the validation split, as far as they exist
    quality: Mapping[str, Any]  # quality.json; empty if there is none
    notes: tuple[str, ...]  # warnings about the files

    def series(self, *keys: str) -> tuple[list[int], list[float]]:
        """Steps and values of a field of the log where it is a finite number: ``series("quality", "kid")``."""
        steps, values = [], []
        for line in self.log:
            value: Any = line
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if is_number(value):
                steps.append(line["step"])
                values.append(float(value))
        return steps, values


def read_record(run: Path) -> Record:
    """Read a run directory. Raises ``UserError`` without a run or a log, or if a file is damaged."""
    config = read_config(run)
    log, notes = _read_log(run)
    matches = ((SHEET.fullmatch(path.name), path) for path in sorted((run / SHEETS).glob("*.png")))
    return Record(
        run=run,
        config=config,
        toml=(run / CONFIG).read_text(encoding="utf-8"),
        versions={str(name): str(version) for name, version in read_toml(run / CONFIG).get("versions", {}).items()},
        log=log,
        sheets=tuple((int(match[1]), path) for match, path in matches if match and _is_png(path)),
        evaluations=read_evaluations(run),
        quality=_read_quality(run),
        notes=notes,
    )


def _is_png(path: Path) -> bool:
    """Whether a file is a PNG: a link in a stranger's run may lead to any file, and the page holds whole sheets."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PNG)) == PNG


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_log(run: Path) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """The lines of the log, and a note if the last one is incomplete: the run is writing it, or crashed."""
    path, command = run / LOG, f"synthreal fit --run {shlex.quote(str(run))} --resume"
    *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else [""]
    if not lines:
        raise UserError(f"{path}: missing or empty; wait for the first report, or continue the run with: {command}")
    log = []
    for number, line in enumerate(lines, start=1):
        try:
            report = json.loads(line)
            if not isinstance(report, dict) or not isinstance(report.get("step"), int):
                raise ValueError("not a report with a step")
        except ValueError as error:
            remedy = f"delete that line, or drop it with: {command}"
            raise UserError(f"{path}: line {number} is damaged ({error}); {remedy}") from None
        log.append({"warnings": [], **report})
    return tuple(log), (f"{LOG}: the last line is incomplete and was ignored",) * bool(rest)


def _read_quality(run: Path) -> Mapping[str, Any]:
    path = run / QUALITY
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); delete it, the page does not need it") from None
    return found
