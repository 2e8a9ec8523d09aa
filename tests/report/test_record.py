"""Reading a run directory, and the messages about damaged files."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from run_log import edit_log

from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config
from synthreal.report.record import read_record


def test_the_content_of_a_run(full):
    record = read_record(full)
    assert record.config == read_config(full)
    assert record.toml == (full / "config.toml").read_text()
    assert {"synthreal", "torch", "numpy", "kornia"} <= set(record.versions)
    assert [step for step, _ in record.sheets] == [2, 5, 8, 11]
    assert [line["step"] for line in record.log] == list(range(1, 12))
    assert [found.split for found in record.evaluations] == ["test"]
    steps, values = record.series("loss_adversarial")
    assert steps == list(range(6, 12)) and all(value > 0 for value in values)  # only the game has this loss
    assert record.series("quality", "score") == ([1, 3, 5, 7, 9, 11], [1 / step for step in range(1, 12, 2)])
    assert record.series("quality", "shift_px") == ([], [])
    assert record.series("phase") == ([], [])
    edit_log(
        full,
        lambda line: line.update(images_per_second=[float("nan"), float("inf"), 10**999, None][line["step"] % 4]),
    )
    assert read_record(full).series("images_per_second") == ([], [])


def test_a_run_without_evaluation_and_quality(run):
    record = read_record(run)
    assert record.evaluations == () and record.quality == {} and record.notes == ()


def test_the_test_split_comes_before_validation(full):
    tree = json.loads((full / "evaluation.json").read_text())
    (full / "validation.json").write_text(json.dumps({**tree, "split": "validation", "preservation": {}}))
    found = read_record(full).evaluations
    assert [one.split for one in found] == ["test", "validation"]
    assert found[0].preservation is not None and found[1].preservation is None


def test_an_incomplete_last_line_is_ignored(run):
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 12, "pha')
    record = read_record(run)
    assert len(record.log) == 11 and record.notes == ("log.jsonl: the last line is incomplete and was ignored",)


def test_other_files_are_no_sheets(full):
    (full / "sheets/mine.png").write_bytes((full / "sheets/step-00000011.png").read_bytes())
    assert [step for step, _ in read_record(full).sheets] == [2, 5, 8, 11]


def test_sheets_that_the_page_cannot_hold_are_left_out_with_a_note(full, monkeypatch):
    sheets = full / "sheets"
    monkeypatch.setattr("synthreal.report.record.LARGEST_SHEET", (sheets / "step-00000002.png").stat().st_size)
    (sheets / "step-00000003.png").symlink_to("step-00000002.png")
    (sheets / "step-00000004.png").symlink_to("step-00000004.png")
    (sheets / "step-00000005.png").write_bytes(b"no")
    with (sheets / "step-00000008.png").open("ab") as file:
        file.write(bytes(100_000))
    (sheets / "step-00000011.png").unlink()
    record = read_record(full)
    assert [step for step, _ in record.sheets] == [2]
    assert record.notes == ("sheets: 4 files are links, behind one, too large or no PNG, and are left out",)


def test_a_damaged_line_of_the_log(run):
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    problems = {
        b"nonsense": "Invalid JSON",
        b"[" * 5000: "Invalid JSON",
        b"\xff": "Invalid JSON",
        b"[1]": "content",
        b'{"phase": "game"}': "step",
        b'{"step": "x", "phase": "game"}': "step",
        b'{"step": 1e999}': "step",
        b'{"step": ' + b"9" * 5000 + b"}": "Invalid JSON|step",
        b'{"step": 3, "loss_adversarial": "1"}': "loss_adversarial",
        b'{"step": 3, "quality": {"kid": [1]}}': "quality.kid",
        b'{"step": 3, "warnings": [1]}': "warnings",
    }
    for line, problem in problems.items():
        (run / "log.jsonl").write_bytes("".join(lines[:2]).encode() + line + b"\n" + "".join(lines[3:]).encode())
        with pytest.raises(UserError, match=rf"run/log\.jsonl: line 3 is damaged .*({problem}).*--resume"):
            read_record(run)


def test_a_missing_and_an_empty_log(run):
    (run / "log.jsonl").write_text("")
    with pytest.raises(UserError, match=r"run/log\.jsonl: missing or empty.*--resume"):
        read_record(run)
    (run / "log.jsonl").unlink()
    with pytest.raises(UserError, match=r"run/log\.jsonl: missing or empty.*--resume"):
        read_record(run)


def test_a_damaged_evaluation(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    problems = {
        "Invalid JSON": "{",
        "content": [],
        "simulated is missing": {**tree, "arms": {}},
        "not all have error_mm": {**tree, "primary": "error_mm"},
        "error_px": {**tree, "arms": {**tree["arms"], "refined": {"error_px": {}}}},
        "constant": {**tree, "constant": None},
        "constant: error_": {**tree, "constant": {}},
        "quality.refined.kid": {**tree, "quality": {"refined": {"kid": "low"}}},
    }
    for problem, content in problems.items():
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(UserError, match=r"run/evaluation\.json: damaged") as error:
            read_record(full)
        assert problem in str(error.value) and "synthreal evaluate run" in str(error.value)


def test_a_damaged_quality_file(full):
    for content in (b"[]", b"[" * 5000, b"\xff", b'{"simulated": []}', b'{"best": {"step": "9"}}', b'{"rule": 3}'):
        (full / "quality.json").write_bytes(content)
        with pytest.raises(UserError, match=r"run/quality\.json: damaged .*delete it"):
            read_record(full)


def test_suggested_commands_quote_the_folder(full):
    run = Path("Ada's run")
    shutil.move(full, run)
    for name, content, command in (("evaluation.json", "[]", "evaluate"), ("log.jsonl", "", "fit --run")):
        (run / name).write_text(content)
        with pytest.raises(UserError) as error:
            read_record(run)
        words = str(error.value).partition(f"synthreal {command} ")[2]
        assert shlex.split(words)[0] == str(run)
