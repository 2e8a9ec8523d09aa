"""Bad input of the reader on the command line: one line, exit code 2, no output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from signs_fixtures import write_gtsrb

Case = Callable[[Path], str]


def missing_root(root: Path) -> str:
    root.rmdir()
    return str(root)


def empty_root(root: Path) -> str:
    return str(root)


def missing_class(root: Path) -> str:
    (write_gtsrb(root, tracks=3) / "00004").rename(root / "elsewhere")
    return "00004"


def too_few_tracks(root: Path) -> str:
    write_gtsrb(root, tracks=2)
    return "00000"


def another_class_in_the_table(root: Path) -> str:
    table = write_gtsrb(root, tracks=3) / "00003/GT-00003.csv"
    table.write_text(table.read_text().replace(";3\n", ";4\n"))
    return "GT-00003.csv"


def no_photograph_is_readable(root: Path) -> str:
    for path in write_gtsrb(root, tracks=3).rglob("*.ppm"):
        path.write_bytes(b"P6")
    return "role real"


CASES = (missing_root, empty_root, missing_class, too_few_tracks, another_class_in_the_table, no_photograph_is_readable)


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_bad_files_are_one_line_and_leave_nothing(case: Case, tmp_path: Path, cli: Callable[..., Any]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    offender = case(root)
    pack = tmp_path / "out.h5"
    line = cli("prepare", "gtsrb", pack, "--plugin", "signs", "--role", "real", "--set", f"root={root}").complaint()
    assert offender in line and not pack.exists()


def test_a_margin_that_is_no_share_is_refused(tmp_path: Path, cli: Callable[..., Any]) -> None:
    arguments = ("--plugin", "signs", "--set", f"root={tmp_path}", "--set", "margin=-1")
    assert "margin" in cli("prepare", "gtsrb", tmp_path / "out.h5", *arguments).complaint()
