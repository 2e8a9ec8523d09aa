"""The five-minute version of ``make torture``."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def torture(name: str, *flags: str, result: Path, **environment: str) -> dict:
    """Run a script of benchmarks/torture, with changes to the environment; its rows."""
    path = os.pathsep.join([str(ROOT / "benchmarks"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", f"torture.{name}", *flags, "--json", str(result)],
        env={**os.environ, "PYTHONPATH": path, **environment},
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
    clean = {"GIT_DIR": str(tmp_path / ".git"), "GIT_WORK_TREE": str(tmp_path)}  # of this commit, without changes
    author = ("-c", "user.name=a", "-c", "user.email=a")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "a"], cwd=tmp_path, check=True)
    first = torture("fuzz", *flags, result=result, **clean)
    stored = json.loads(result.read_text())
    for row in stored["rows"].values():
        row["seconds"] = -1
    result.write_text(json.dumps(stored))
    assert {row["seconds"] for row in torture("fuzz", *flags, result=result, **clean).values()} == {-1}
    result.write_text(json.dumps({**stored, "machine": {"commit": "another"}}))
    again = torture("fuzz", *flags, result=result, **clean)
    assert again.keys() == first.keys() and all(row["seconds"] >= 0 for row in again.values())


@pytest.mark.parametrize(
    ("before", "now", "used"),
    [
        ("1234567", "1234567", True),
        ("1234567", "89abcde", False),
        ("1234567-dirty", "1234567-dirty", False),  # the changes may be others
        ("unknown", "unknown", False),
    ],
)
def test_only_rows_of_the_same_sources_are_used_again(tmp_path, monkeypatch, before, now, used):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    results = importlib.import_module("torture.results")
    monkeypatch.setattr(results, "_machine", lambda: {"commit": before})
    results.store(tmp_path / "a.json", rows := {"pack": {"inputs": 3}})
    monkeypatch.setattr(results, "_machine", lambda: {"commit": now})
    assert results.load(tmp_path / "a.json") == (rows if used else {})
    assert results.load(tmp_path / "b.json") == {}
