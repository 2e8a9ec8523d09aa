"""The identifier of a run at a tracker, kept in the run directory so that a resumed run continues it."""

from __future__ import annotations

import re
from pathlib import Path

from synthreal.errors import UserError
from synthreal.files import read_bounded, reason, refuse_link, write_text

FILE = "run-id"


def read_run_id(folder: Path) -> str | None:
    """The identifier in a tracker's folder, or None. Raises ``UserError`` for a file that holds something else."""
    path = folder / FILE
    refuse_link(path)
    if not path.exists():
        return None
    try:
        text = read_bounded(path, 1024).decode().strip()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read ({reason(error)}); delete it to log a new run") from error
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise UserError(f"{path}: holds no identifier of a run; delete it to log a new run")
    return text


def write_run_id(folder: Path, run_id: str) -> None:
    """Keep the identifier."""
    refuse_link(folder / FILE)
    write_text(folder / FILE, f"{run_id}\n")
