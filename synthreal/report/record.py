"""Everything a run directory says of its run, read and checked once; nothing is computed here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from synthreal.config import ResolvedConfig
from synthreal.config.toml import read_toml
from synthreal.errors import UserError
from synthreal.inference.pretrained import CONFIG, read_config
from synthreal.results.schema import Evaluation, read_evaluations, reason
from synthreal.train.log import LOG

QUALITY = "quality.json"
LARGEST = 1e300
SHEET = re.compile(r"step-(\d+)\.png")


@dataclass(frozen=True)
class Record:
    """A run as its directory tells it.

    Attributes:
        run: the directory, as it was named.
        config: resolved.
        toml: config.toml as it stands.
        versions: distribution -> version.
        log: the lines of log.jsonl, in order.
        sheets: (step, file), in order of steps.
        evaluations: of the test split, then of the validation split, as far as they are there.
        quality: quality.json, empty without one.
        notes: what was left out while reading.
    """

    run: Path
    config: ResolvedConfig
    toml: str
    versions: Mapping[str, str]
    log: tuple[Mapping[str, Any], ...]
    sheets: tuple[tuple[int, Path], ...]
    evaluations: tuple[Evaluation, ...]
    quality: Mapping[str, Any]
    notes: tuple[str, ...]

    def series(self, *keys: str) -> tuple[list[int], list[float]]:
        """Steps and values of a number of the log, where it is one: ``series("quality", "kid")``."""
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
    """Read a run directory.

    Raises:
        UserError: not a run, nothing logged yet, a damaged file.
    """
    config = read_config(run)
    log, notes = _log(run)
    sheets = list(_sheets(run))
    whole = tuple((step, path) for step, path in sheets if _is_picture(path))
    notes += [f"sheets/{path.name}: damaged and left out" for step, path in sheets if (step, path) not in whole]
    return Record(
        run=run,
        config=config,
        toml=(run / CONFIG).read_text(encoding="utf-8"),
        versions={str(name): str(version) for name, version in read_toml(run / CONFIG).get("versions", {}).items()},
        log=log,
        sheets=whole,
        evaluations=read_evaluations(run),
        quality=_quality(run),
        notes=tuple(notes),
    )


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _log(run: Path) -> tuple[tuple[Mapping[str, Any], ...], list[str]]:
    path = run / LOG
    command = f"synthreal fit --run {shlex.quote(str(run))} --resume"
    wait = f"wait for it, or continue the run with: {command}"
    if not path.is_file():
        raise UserError(f"{path}: missing, the run has reported nothing yet; {wait}")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise UserError(f"{path}: cannot read ({reason(error)}); give a run directory you may read") from None
    found, notes = [], []
    for number, text in enumerate(lines, start=1):
        try:
            found.append(_line(text))
        except (ValueError, RecursionError) as error:
            if number == len(lines) and not text.endswith("\n"):  # being written now, or cut by a crash
                notes.append(f"{LOG}: its last line is cut and left out")
                continue
            raise UserError(
                f"{path}: line {number} is damaged ({error}); delete that line, or drop it with: {command}"
            ) from None
    if not found:
        raise UserError(f"{path}: empty, the run has reported nothing yet; {wait}")
    return tuple(found), notes


def _line(text: str) -> Mapping[str, Any]:
    line = json.loads(text)
    if not isinstance(line, dict) or not isinstance(line.get("step"), int) or not isinstance(line.get("phase"), str):
        raise ValueError("no report with a step and a phase")
    if not isinstance(line.setdefault("warnings", []), list):
        raise ValueError("its warnings are no list")
    return line


def _sheets(run: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted((run / "sheets").glob("*.png")):
        if match := SHEET.fullmatch(path.name):
            yield int(match[1]), path


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def _quality(run: Path) -> Mapping[str, Any]:
    path = run / QUALITY
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no table")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({reason(error)}); delete it, the page does without") from None
    return found
