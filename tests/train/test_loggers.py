"""Experiment trackers: what log.jsonl holds arrives, a resumed run continues, and nothing else of a run changes.

wandb and mlflow are used offline, in processes of their own, if they are installed; elsewhere a minimal module of
the same calls stands in their place.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from quick import QUICK, TOY, files, flags, weights

from synthreal.train.fit import fit
from synthreal.train.log import log_line, numbers, read_log
from synthreal.train.loggers import LOGGERS, open_loggers

FIT = ("fit", "--plugin", TOY, *flags(*QUICK))
STEPS = 3 + 2 + 6  # of QUICK


def logged(run):
    """``{tag: {step: value}}`` of log.jsonl."""
    found = {}
    for line in read_log(Path(run))[0]:
        for tag, value in numbers(line):
            found.setdefault(tag, {})[line["step"]] = value
    return found


def fit_part(plan):
    """Train a run without progress bars and trackers."""
    fit(plan.config, plan.catalog, plan.run_dir)


def refusal(done):
    """The last line of a command that failed with a mistake of the user, after warnings about the data."""
    assert done.code == 2 and "Traceback" not in done.err
    return done.err.splitlines()[-1]


def events(run):
    """``{tag: {step: value}}`` of the events of a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        found = EventAccumulator(str(run / "loggers/tensorboard"), size_guidance={"scalars": 0})
        found.Reload()
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


class Tracker:
    """Stands for a library: records its calls."""

    def __init__(self):
        self.calls = []
        self.broken = False
        self.wandb = SimpleNamespace(init=self.init, Settings=lambda **settings: settings)
        entities = SimpleNamespace(Metric=lambda *words: words, Param=lambda *words: words)
        self.mlflow = SimpleNamespace(MlflowClient=lambda: self, entities=entities)

    def init(self, **settings):
        self.calls.append(("init", settings))
        return SimpleNamespace(log=self.log, finish=lambda exit_code: self.calls.append(("finish", exit_code)))

    def log(self, values, step):
        if self.broken:
            raise ConnectionError("the server is gone")
        self.calls.append(("log", step, values))

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"id of {name}"

    def create_run(self, where, run_name):
        self.calls.append(("create", where, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def update_run(self, run_id, status):
        self.calls.append(("update", run_id, status))

    def log_batch(self, run_id, metrics=(), params=()):
        assert len(params) <= 100 and all(len(value) <= 500 for _, value in params)
        if params:
            self.calls.append(("params", dict(params)))
        if metrics:
            (step,) = {one[3] for one in metrics}
            self.log({tag: value for tag, value, *_ in metrics}, step)

    def set_terminated(self, run_id, status):
        self.calls.append(("end", run_id, status))

    def series(self):
        found = {}
        for _, step, values in (call for call in self.calls if call[0] == "log"):
            for tag, value in values.items():
                found.setdefault(tag, {})[step] = value
        return found

    def of(self, kind):
        return [call[1:] for call in self.calls if call[0] == kind]


@pytest.fixture
def tracker(monkeypatch, tmp_path):
    """Both libraries, installed as one Tracker; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    stand_in = Tracker()
    monkeypatch.setattr("synthreal.errors.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "wandb", stand_in.wandb)
    monkeypatch.setitem(sys.modules, "mlflow", stand_in.mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", stand_in.mlflow.entities)
    return stand_in


def test_tensorboard_gets_what_the_log_holds_and_a_resumed_run_continues(cli, tmp_path, monkeypatch, toy_run):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    cli(*FIT, "--run", "run", "--log", "tensorboard").ok()
    run, plain = tmp_path / "run", logged(toy_run)
    assert events(run).keys() == logged("run").keys() == plain.keys() and "loss_regularization" in plain
    for tag, series in logged("run").items():
        assert events(run)[tag] == pytest.approx(series, rel=1e-6)
    assert weights(run) == weights(toy_run)  # nothing else changes
    own = [name for name in files(run) if not name.startswith("loggers/")]
    assert [name for name in files(toy_run) if name in own] == own
    assert "tensorboard" not in (run / "config.toml").read_text()
    cli("fit", "--plugin", TOY, "--run", "run", "--resume", "--set", "schedule.steps=9", "--log", "tensorboard").ok()
    assert max(logged("run")["loss_regularization"]) == STEPS + 3
    assert events(run)["loss_regularization"] == pytest.approx(logged("run")["loss_regularization"], rel=1e-6)


def test_events_that_a_killed_process_left_are_not_shown(tmp_path, toy_run):
    pytest.importorskip("tensorboard")
    from synthreal.train.loggers.tensorboard import TensorBoard

    folder = tmp_path / "loggers/tensorboard"
    for steps, first in (((1, 2, 3, 4), None), ((3, 5), 3)):
        board = TensorBoard(folder, purge_step=first)
        for step in steps:
            board.log(step, {"loss": float(len(steps))})
        board.close()
    assert events(tmp_path) == {"loss": {1: 4.0, 2: 4.0, 3: 2.0, 5: 2.0}}


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_gets_the_settings_and_what_the_log_holds(cli, tracker, name):
    cli(*FIT, "--run", "runs/eyes", "--log", name).ok()
    assert tracker.series() == logged("runs/eyes")
    if name == "wandb":
        ((settings,),) = tracker.of("init")
        assert settings["project"] == "synthreal" and settings["name"] == "eyes"
        assert settings["config"]["schedule"]["batch"] == 8 and Path(settings["dir"]) == Path("runs/eyes/loggers/wandb")
        assert tracker.of("finish") == [(0,)]
    else:
        assert tracker.of("create") == [("id of synthreal", "eyes")] and tracker.of("end") == [("abc", "FINISHED")]
        assert {key: value for (found,) in tracker.of("params") for key, value in found.items()}[
            "schedule.batch"
        ] == "8"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_resumed_run_continues_the_same_run_and_a_new_one_does_not(cli, tracker, name):
    cli(*FIT, "--run", "run", "--log", name).ok()
    cli("fit", "--plugin", TOY, "--run", "run", "--resume", "--set", "schedule.steps=9", "--log", name).ok()
    cli(*FIT, "--run", "other", "--log", name).ok()
    if name == "wandb":
        first, again, other = (settings["id"] for (settings,) in tracker.of("init"))
        assert first == again != other
    else:
        assert tracker.of("update") == [("abc", "RUNNING")] and len(tracker.of("create")) == 2
    (Path("run") / "loggers" / name / "run-id").write_text("../../x")
    more = ("--resume", "--set", "schedule.steps=12", "--log", name)
    assert "run-id: holds no identifier" in cli("fit", "--plugin", TOY, "--run", "run", *more).complaint()


def test_the_command_that_continues_an_interrupted_run_names_the_tracker(cli, tracker, monkeypatch):
    def interrupted(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr("synthreal.cli.refiner.train", lambda plan, processes, log: interrupted(fit_part(plan)))
    done = cli(*FIT, "--run", "run", "--log", "wandb", "--log", "mlflow")
    assert done.code == 130 and done.err.splitlines()[-1].endswith("--resume --log wandb --log mlflow")


def test_several_trackers_and_a_project_of_ones_own(cli, tracker, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ours")
    cli(*FIT, "--run", "run", "--log", "wandb", "--log", "mlflow", "--log", "wandb").ok()
    assert [settings["project"] for (settings,) in tracker.of("init")] == ["mine"]
    assert tracker.of("create") == [("id of ours", "run")]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_fails_later_ends_with_a_warning_and_the_run_does_not(cli, tracker, toy_run, name):
    tracker.broken = True
    done = cli(*FIT, "--run", "run", "--log", name).ok()
    assert done.err.count(f"--log {name}: stopped (ConnectionError: the server is gone); training continues") == 1
    assert weights(Path("run")) == weights(toy_run)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_cannot_start_is_one_line(cli, tracker, monkeypatch, name):
    def refuse(*words, **settings):
        raise RuntimeError("sign in first")

    monkeypatch.setattr(tracker.wandb, "init", refuse)
    monkeypatch.setattr(tracker.mlflow, "MlflowClient", refuse)
    line = refusal(cli(*FIT, "--run", "run", "--log", name))
    assert f"--log {name}: cannot start (RuntimeError: sign in first)" in line


@pytest.mark.parametrize(("failure", "code"), [(None, 0), (KeyboardInterrupt, 1)])
def test_a_tracker_knows_whether_training_ended_well(tracker, toy_run, failure, code):
    from synthreal.inference.pretrained import read_config
    from synthreal.train.log import Report

    report = Report(1, "game", 1.0, None, None, None, None, None, 1.0)
    with pytest.raises(failure) if failure else nullcontext():
        with open_loggers(["wandb"], Path("run"), read_config(toy_run), resume=False, on_warning=print) as log:
            log(report)
            if failure:
                raise failure
    assert tracker.of("finish") == [(code,)] and tracker.series() == {
        tag: {1: value} for tag, value in numbers(log_line(report))
    }


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize("command", ["fit", "adapt"])
def test_a_missing_library_is_one_line_before_training_starts(cli, tmp_path, monkeypatch, name, command):
    monkeypatch.chdir(tmp_path)
    real = sys.modules["importlib.util"].find_spec
    monkeypatch.setattr("synthreal.errors.find_spec", lambda library: None if library == name else real(library))
    words = (*FIT, "--run", "run") if command == "fit" else ("adapt", "renders", "photographs", "refined")
    line = cli(*words, "--log", name).complaint()
    assert f"--log {name} needs {name}; pip install 'synthreal[{name}]'" in line
    assert not any(tmp_path.iterdir())


def test_an_unknown_tracker_is_one_line(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--log comet: unknown; choose tensorboard, wandb, mlflow" in cli(*FIT, "--log", "comet").complaint()


def test_nothing_is_written_through_a_link(cli, tracker, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/loggers").symlink_to(tmp_path / "mine")
    assert "loggers: is a symbolic link" in refusal(cli(*FIT, "--run", "run", "--log", "wandb"))
    (tmp_path / "run/loggers").unlink()
    (tmp_path / "run/loggers/wandb").mkdir(parents=True)
    (tmp_path / "run/loggers/wandb/run-id").symlink_to(tmp_path / "mine/id")
    assert "run-id: is a symbolic link" in refusal(cli(*FIT, "--run", "run", "--log", "wandb"))
    assert not any((tmp_path / "mine").iterdir())


def in_a_process(folder, *words, **variables):
    """Run a command in a process of its own, where these libraries may start threads and warn."""
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "synthreal", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def records_of(content):
    """The records of a .wandb file: after 7 bytes LevelDB's log format, pieces in blocks of 32 KiB."""
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no place for a header: zeros
            at += 32768 - at % 32768
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


@pytest.mark.slow
def test_wandb_itself_offline(tmp_path):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    for more in (FIT, ("fit", "--plugin", TOY, "--resume", "--set", "schedule.steps=9")):
        in_a_process(tmp_path, *more, "--run", "run", "--log", "wandb", WANDB_MODE="offline")
    found, names = {}, set()
    for path in sorted((tmp_path / "run/loggers/wandb/wandb").glob("offline-run-*/*.wandb")):
        for data in records_of(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            names.add(record.run.run_id)
            for item in record.history.item:
                tag = item.key or "/".join(item.nested_key)
                if not tag.startswith("_"):
                    found.setdefault(tag, {})[record.history.step.num] = json.loads(item.value_json)
    assert len(names - {""}) == 1
    assert found == logged(tmp_path / "run")


@pytest.mark.slow
def test_mlflow_itself_in_a_file(tmp_path):
    pytest.importorskip("mlflow")
    for more in (FIT, ("fit", "--plugin", TOY, "--resume", "--set", "schedule.steps=9")):
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        in_a_process(tmp_path, *more, "--run", "run", "--log", "mlflow", MLFLOW_TRACKING_URI=uri)
    database = sqlite3.connect(tmp_path / "mlflow.db")
    try:
        ((status, name),) = database.execute("select status, name from runs").fetchall()
        found = {}
        for key, value, step in database.execute("select key, value, step from metrics"):
            found.setdefault(key, {})[step] = value
        parameters = dict(database.execute("select key, value from params"))
    finally:
        database.close()
    assert (status, name) == ("FINISHED", "run") and parameters["schedule.batch"] == "8"
    assert found.keys() == logged(tmp_path / "run").keys()
    for tag, series in logged(tmp_path / "run").items():
        assert found[tag] == pytest.approx(series)
