"""Bad input of the readers on the command line: one line, exit code 2, no output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gaze_fixtures import write_pair, write_people

Case = Callable[[Path], str]


def _pairs(folder: Path) -> Path:
    for number in (1, 2):
        write_pair(folder, number)
    return folder


def jpg_without_json(root: Path) -> str:
    (_pairs(root) / "2.json").unlink()
    return "2.jpg"


def truncated_jpg(root: Path) -> str:
    path = _pairs(root) / "2.jpg"
    path.write_bytes(path.read_bytes()[:2000])
    return "2.jpg"


def malformed_json(root: Path) -> str:
    (_pairs(root) / "1.json").write_text("{")
    return "1.json"


def empty_folder(root: Path) -> str:
    return str(root)


def missing_root(root: Path) -> str:
    root.rmdir()
    return str(root)


def not_a_mat(root: Path) -> str:
    write_people(root)
    (root / "p00" / "day01.mat").write_bytes(np.arange(500, dtype=np.uint8).tobytes())
    return "day01.mat"


CASES: list[tuple[str, Case]] = [
    *(("unityeyes", case) for case in (jpg_without_json, truncated_jpg, malformed_json, missing_root)),
    *(("mpiigaze", case) for case in (empty_folder, not_a_mat)),
    ("folder", empty_folder),
]


@pytest.mark.parametrize(("dataset", "case"), CASES, ids=[f"{name}-{case.__name__}" for name, case in CASES])
def test_bad_files_are_one_line_and_leave_nothing(
    dataset: str, case: Case, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    offender = case(root)
    role = "simulated" if dataset == "unityeyes" else "real"
    source = f'data.{role}={{name="{dataset}", options={{root="{root}"}}}}'
    pack, run = tmp_path / "out.h5", tmp_path / "run"
    for arguments in (
        ["prepare", dataset, pack, "--plugin", "gaze", "--set", f"root={root}"],
        ["fit", "--plugin", "gaze", "--run", run, "--set", source, "--set", "data.simulated.count=32"],
    ):
        assert offender in cli(*arguments).complaint()
    assert not pack.exists() and not run.exists()
