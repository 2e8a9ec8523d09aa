"""Claiming a run directory, and the settings that may change when a run is resumed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from quick import configured, files

from synthreal.errors import UserError
from synthreal.hooks.catalog import versions_of
from synthreal.inference.pretrained import CONFIG, WEIGHTS
from synthreal.train.run_dir import check_processes, check_resumable, claim, differences, holds_run, leaves


def test_leaves_are_dotted_paths_and_lists_are_values():
    tree = {"a": {"b": 1, "c": {}}, "d": (1, {"e": 2}), "f": None}
    assert dict(leaves(tree)) == {"a.b": 1, "a.c": {}, "d": [1, {"e": 2}], "f": None}


def test_differences_name_every_setting_even_if_a_table_is_replaced(toy):
    base = configured(toy)
    assert differences(base, base) == {}
    other = configured(toy, "loss.weight=3.0", 'optimizer.refiner={name="sgd", learning_rate=0.1}', "history=none")
    found = differences(base, other)
    assert found["loss.weight"] == (base.loss.weight, 3.0) and found["history.size"] == (12, None)
    assert list(found) == [
        "history.dtype",
        "history.size",
        "loss.weight",
        "optimizer.refiner.beta1",
        "optimizer.refiner.beta2",
        "optimizer.refiner.learning_rate",
        "optimizer.refiner.momentum",
        "optimizer.refiner.name",
    ]


def test_the_message_shows_both_values_of_the_first_four_and_counts_the_rest(toy):
    schedule = [f"schedule.{key}=9" for key in ("refiner_steps", "discriminator_steps", "refiner_updates")]
    other = configured(toy, *schedule, "loss.weight=3.0", "history.size=20", "runtime.seed=4")
    with pytest.raises(UserError) as error:
        check_resumable(Path("runs/x"), configured(toy), other)
    message = str(error.value)
    assert message.startswith("runs/x: holds a run with another configuration: history.size (12 before, 20 now), loss.")
    assert message.endswith("and 2 more; resume with the same settings")


def test_a_longer_game_is_the_only_change_of_the_schedule_that_can_be_resumed(toy):
    base = configured(toy)
    check_resumable(Path("x"), base, configured(toy, "schedule.steps=100"))
    for setting in ("schedule.steps=5", "schedule.refiner_steps=100"):
        with pytest.raises(UserError, match=setting.partition("=")[0]):
            check_resumable(Path("x"), base, configured(toy, setting))


def new(run_dir, toy):
    return claim(run_dir, configured(toy), precision="float32", state=None)


def test_a_folder_is_used_by_one_fit_only(toy, tmp_path):
    with new(tmp_path / "run", toy):
        with (
            pytest.raises(UserError, match="run: another fit is running"),
            new(tmp_path / "run", toy),
        ):
            pass
        assert (tmp_path / "run").is_dir()
        (tmp_path / "run/mine").touch()
    assert files(tmp_path / "run") == ["mine"]
    with new(tmp_path / "run", toy):
        pass


def test_created_folders_are_removed_after_a_failure_and_existing_ones_stay(toy, tmp_path):
    (tmp_path / "existing").mkdir()
    for run_dir in (tmp_path / "a/b/c", tmp_path / "existing"):
        with pytest.raises(RuntimeError), new(run_dir, toy):
            (run_dir / "data").mkdir()
            (run_dir / CONFIG).touch()
            (run_dir / WEIGHTS).touch()
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["existing"]


def test_files_of_the_user_in_a_claimed_folder_stay(toy, tmp_path):
    with pytest.raises(RuntimeError), new(tmp_path / "run", toy):
        (tmp_path / "run/log.jsonl").touch()
        raise RuntimeError
    assert (tmp_path / "run/log.jsonl").is_file()
    assert not holds_run(tmp_path / "run")


def test_the_remains_of_a_run_killed_before_it_saved_are_not_a_run(toy, tmp_path):
    (tmp_path / CONFIG).touch()
    assert not holds_run(tmp_path)
    with new(tmp_path, toy):
        pass
    (tmp_path / WEIGHTS).touch()
    assert holds_run(tmp_path)


def test_a_file_in_place_of_a_folder_is_named_and_not_changed(toy, tmp_path):
    (tmp_path / "file").write_text("mine")
    for below in ("", "run"):
        with pytest.raises(UserError, match=r"file.*: cannot write \((File exists|Not a directory)\)"):
            with new(tmp_path / "file" / below, toy):
                raise AssertionError
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_folder_is_refused_before_anything_is_written(toy, tmp_path, monkeypatch):
    def refuse(self, *arguments, **more):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UserError, match=r"new/run: cannot write \(Read-only file system\)"):
        with new(tmp_path / "new/run", toy):
            raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_versions_name_every_distribution(toy):
    versions = versions_of(toy)
    assert set(versions) == {"synthreal", "toy.py", "torch", "numpy", "kornia"}
    assert all(versions.values())


def test_a_run_is_resumed_by_as_many_processes_as_trained_it(tmp_path):
    for ranks, processes, remedy in (
        (None, 2, "without torchrun"),
        (2, 1, "torchrun --nproc-per-node=2"),
        (2, 4, "torchrun --nproc-per-node=2"),
    ):
        with pytest.raises(UserError, match=f"run: .*{remedy}"):
            check_processes(tmp_path / "run", {} if ranks is None else {"ranks": [{}] * ranks}, processes)
    check_processes(tmp_path / "run", {"ranks": [{}] * 4}, 4)


def test_a_run_killed_before_its_first_checkpoint_can_be_fitted_again(toy, tmp_path):
    config = configured(toy)
    for name in (".lock", CONFIG, WEIGHTS):
        (tmp_path / name).touch()
    with claim(tmp_path, config, precision="float32", state=None):
        pass
    (tmp_path / WEIGHTS).touch()  # and no lock: somebody has removed the checkpoints of a run
    with (
        pytest.raises(UserError, match="already holds a run"),
        claim(tmp_path, config, precision="float32", state=None),
    ):
        pass


def test_a_lock_that_its_owner_removes_meanwhile_is_not_held(toy, tmp_path, monkeypatch):
    """Another fit ends between opening and locking the file; a third one could then lock a new file of that name."""
    lock = fcntl.flock

    def flock(file, operation):
        (tmp_path / ".lock").unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(UserError, match="another fit is running"),
        claim(tmp_path, configured(toy), precision="float32", state=None),
    ):
        raise AssertionError


def test_a_lock_that_is_a_folder_is_one_line(toy, tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock: cannot write"):
        with claim(tmp_path, configured(toy), precision="float32", state=None):
            pass


def test_a_run_directory_that_is_not_utf_8_is_refused_at_the_start(toy, tmp_path):
    run = tmp_path / os.fsdecode(b"r\xff")
    with pytest.raises(UserError, match=r"r\\udcff: its name is not UTF-8"):
        with claim(run, configured(toy), precision="float32", state=None):
            pass
    assert not run.exists()
