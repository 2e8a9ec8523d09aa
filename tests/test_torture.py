"""The five-minute version of ``make torture``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def torture(name: str, *flags: str, result: Path) -> dict:
    """Run a script of benchmarks/torture; its rows."""
    path = os.pathsep.join([str(ROOT / "benchmarks"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", f"torture.{name}", *flags, "--json", str(result)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(result.read_text())["rows"]


@pytest.mark.slow
def test_mutated_files_give_one_line(tmp_path):
    rows = torture("fuzz", "--inputs", "6000", "--seed", "1", result=tmp_path / "fuzz.json")
    assert sum(row["inputs"] for row in rows.values()) > 5900
    assert not any(row["findings"] for row in rows.values())


@pytest.mark.slow
def test_kills_and_disks_do_not_change_results(tmp_path):
    rows = torture("kill", "--random", "3", "--events", "3::40", result=tmp_path / "kill.json")
    assert set(rows) == {"fit", "evaluate", "refine-pack", "refine-folder", "refine-shards"}
    for row in rows.values():
        assert row["kills"] >= 3
        assert row["kill"] and row["full"] == row["read-only"] == row["kill"]


@pytest.mark.slow
def test_a_stopped_torture_continues_unless_the_commit_changes(tmp_path):
    flags, result = ("--inputs", "300", "--readers", "answers,config"), tmp_path / "fuzz.json"
    first = torture("fuzz", *flags, result=result)
    stored = json.loads(result.read_text())
    for row in stored["rows"].values():
        row["seconds"] = -1
    result.write_text(json.dumps(stored))
    assert {row["seconds"] for row in torture("fuzz", *flags, result=result).values()} == {-1}
    result.write_text(json.dumps({**stored, "machine": {"commit": "another"}}))
    again = torture("fuzz", *flags, result=result)
    assert again.keys() == first.keys() and all(row["seconds"] >= 0 for row in again.values())
