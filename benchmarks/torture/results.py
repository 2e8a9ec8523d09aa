"""The file of finished trials, from which a stopped torture continues."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from record import machine

from synthreal.files import write_text


def load(path: Path | None) -> dict[str, Any]:
    """The rows of finished trials by name; none without a file, or if it is not certainly of the same sources."""
    commit = _machine()["commit"]
    if path is None or not path.is_file() or commit == "unknown" or commit.endswith("-dirty"):
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, Any] = found["rows"] if found["machine"]["commit"] == commit else {}
    return rows


def store(path: Path | None, rows: dict[str, Any]) -> None:
    """Write the rows with machine, versions, date and commit."""
    if path is not None:
        about = _machine()
        about["command"] = f"PYTHONPATH=benchmarks python -m torture.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"machine": about, "rows": rows}) + "\n")


def _machine() -> dict[str, Any]:
    return machine(argparse.Namespace(device="cpu", threads=1))
