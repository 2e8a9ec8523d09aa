"""What a run directory says, and what is told when it is damaged."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from diary import edit

from synthreal.errors import UserError
from synthreal.inference.pretrained import read_config
from synthreal.report.record import read_record


def test_a_run_is_read(full):
    record = read_record(full)
    assert record.config == read_config(full)
    assert record.toml == (full / "config.toml").read_text()
    assert {"synthreal", "torch", "numpy", "kornia"} <= set(record.versions)
    assert [step for step, _ in record.sheets] == [2, 5, 8, 11]
    assert [line["step"] for line in record.log] == list(range(1, 12))
    assert [found.split for found in record.evaluations] == ["test"]
    steps, values = record.series("loss_adversarial")
    assert steps == list(range(6, 12)) and all(value > 0 for value in values)  # the game alone has it
    assert record.series("quality", "score") == ([1, 3, 5, 7, 9, 11], [1 / step for step in range(1, 12, 2)])
    assert record.series("quality", "shift_px") == ([], [])
    assert record.series("phase") == ([], [])
    edit(full, lambda line: line.update(images_per_second=[True, float("nan"), 10**400, "1", None][line["step"] % 5]))
    assert read_record(full).series("images_per_second") == ([], [])


def test_a_run_that_has_only_trained(run):
    record = read_record(run)
    assert record.evaluations == () and record.quality == {} and record.notes == ()


def test_older_evaluations_have_no_comparison(full):
    path = full / "evaluation.json"
    tree = json.loads(path.read_text())
    for arm in tree["arms"].values():
        del arm["against_simulated"]
    path.write_text(json.dumps(tree))
    (found,) = read_record(full).evaluations
    assert all(arm.against is None and arm.curve is not None for arm in found.arms.values())


def test_test_comes_before_validation(full):
    tree = json.loads((full / "evaluation.json").read_text())
    (full / "validation.json").write_text(json.dumps({**tree, "split": "validation", "preservation": {}}))
    found = read_record(full).evaluations
    assert [one.split for one in found] == ["test", "validation"]
    assert found[0].preservation is not None and found[1].preservation is None


def test_a_last_line_that_is_being_written_is_left_out(run):
    whole = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(whole + '{"step": 12, "pha')
    record = read_record(run)
    assert len(record.log) == 11 and record.notes == ("log.jsonl: its last line is cut and left out",)


def test_a_sheet_that_is_cut_is_left_out(full):
    path = full / "sheets/step-00000005.png"
    path.write_bytes(path.read_bytes()[:40])
    (full / "sheets/mine.png").write_bytes(b"")
    record = read_record(full)
    assert [step for step, _ in record.sheets] == [2, 8, 11]
    assert record.notes == ("sheets/step-00000005.png: damaged and left out",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 3 is damaged"),
        ("[1]", "line 3 is damaged (no report with a step and a phase)"),
        ('{"step": "x", "phase": "game"}', "no report with a step"),
        ('{"step": 3, "phase": "game", "warnings": 7}', "its warnings are no list"),
        ("[" * 100_000, "line 3 is damaged"),
    ],
)
def test_a_damaged_line_of_the_log(run, line, said):
    lines = (run / "log.jsonl").read_text().splitlines()
    lines[2] = line
    (run / "log.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match="--resume") as told:
        read_record(run)
    assert "run/log.jsonl: line 3" in str(told.value) and said in str(told.value)


def test_no_log_and_an_empty_one(run):
    (run / "log.jsonl").write_text("")
    with pytest.raises(UserError, match=r"run/log\.jsonl: empty, .*--resume"):
        read_record(run)
    (run / "log.jsonl").unlink()
    with pytest.raises(UserError, match=r"run/log\.jsonl: missing, .*--resume"):
        read_record(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: "{", "Expecting property name"),
        (lambda tree: "[]", "content"),
        (lambda tree: {**tree, "arms": {}}, "simulated is missing"),
        (lambda tree: {**tree, "primary": "error_mm"}, "not all have error_mm"),
        (lambda tree: {**tree, "arms": {**tree["arms"], "refined": {"error_px": {}}}}, "arms.refined.metrics.error_px"),
        (lambda tree: {**tree, "constant": None}, "constant"),
        (lambda tree: {**tree, "quality": {"refined": {"kid": "low"}}}, "quality.refined.kid"),
    ],
)  # fmt: skip
def test_a_damaged_evaluation(full, change, said):
    path = full / "evaluation.json"
    changed = change(json.loads(path.read_text()))
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(UserError, match=r"run/evaluation\.json: damaged") as told:
        read_record(full)
    assert said in str(told.value) and "synthreal evaluate run" in str(told.value)


def test_a_damaged_quality_file(full):
    (full / "quality.json").write_text("[]")
    with pytest.raises(UserError, match=r"run/quality\.json: damaged .*delete it"):
        read_record(full)


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [
        ("log.jsonl", "", "fit --run"),
        ("log.jsonl", "nonsense\n", "fit --run"),
        ("evaluation.json", "[]", "evaluate"),
    ],
)
def test_a_command_that_is_advised_can_be_pasted(full, name, text, command):
    run = Path("Ada's run")
    shutil.move(full, run)
    (run / name).write_text(text)
    with pytest.raises(UserError) as told:
        read_record(run)
    words = str(told.value).partition(f"synthreal {command} ")[2]
    assert shlex.split(words)[0] == str(run)
