"""The files of a run directory, read for the page; nothing is computed here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthreal.config import ResolvedConfig
from synthreal.errors import UserError
from synthreal.files import file_start, real_path
from synthreal.images.png import SIGNATURE
from synthreal.inference.pretrained import CONFIG, LOG, SHEETS, read_config_and_versions
from synthreal.results.schema import Evaluation, read_evaluations
from synthreal.train.log import is_number, read_log
from synthreal.train.monitor import read_quality

LARGEST_SHEET = 256 << 20  # bytes
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
    config, versions = read_config_and_versions(run)
    log, notes = _read_log(run)
    quality = read_quality(run)
    files, folder = sorted((run / SHEETS).glob("*.png")), run.resolve() / SHEETS
    own = [path for path in files if real_path(path) == folder / path.name and _is_sheet(path)]
    if len(own) < len(files):
        notes += (
            f"{SHEETS}: {len(files) - len(own)} files are links, behind one, too large or no PNG, and are left out",
        )
    matches = ((SHEET.fullmatch(path.name), path) for path in own)
    return Record(
        run=run,
        config=config,
        toml=(run / CONFIG).read_text(encoding="utf-8"),
        versions=versions,
        log=log,
        sheets=tuple((int(match[1]), path) for match, path in matches if match),
        evaluations=read_evaluations(run),
        quality={} if quality is None else quality.model_dump(exclude_unset=True),
        notes=notes,
    )


def _is_sheet(path: Path) -> bool:
    """Whether a file is a PNG that the page can hold, whole."""
    return file_start(path, len(SIGNATURE)) == SIGNATURE and path.stat().st_size <= LARGEST_SHEET


def _read_log(run: Path) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """The lines of the log, and a note if the last one is incomplete: the run is writing it, or crashed."""
    log, incomplete = read_log(run)
    if not log:
        command = f"synthreal fit --run {shlex.quote(str(run))} --resume"
        raise UserError(
            f"{run / LOG}: missing or empty; wait for the first report, or continue the run with: {command}"
        )
    return tuple(log), (f"{LOG}: the last line is incomplete and was ignored",) * incomplete
