"""The options of two folders of pictures with labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from renders import SHORT, folder, photograph

from synthreal.cli.folders import TwoFolders, choose_configuration, two_folders
from synthreal.distributed.processes import SINGLE_PROCESS
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog

A, B, C, FILE = map(Path, ("a", "b", "c", "labels.csv"))


def options(simulated=A, real=B, *, domain=False, **more):
    return two_folders(simulated, real, domain=domain, **more)


def test_labels_are_named_by_a_file_and_columns():
    assert options() == TwoFolders(A, B)
    assert options(test=C) == TwoFolders(A, B, test=C)
    assert options(test=C, labels=FILE, label="x, y") == TwoFolders(A, B, test=C, labels=FILE, names=("x", "y"))
    assert options(test=C, label="eye.gaze").names == ("eye.gaze",)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"labels": FILE}, "--labels is for an evaluation on labelled photographs; give their folder with --test"),
        ({"label": "x"}, "--label is for an evaluation"),
        ({"test": C, "label": "x,,y"}, "--label x,,y: an empty name"),
        ({"simulated": None, "real": None, "test": C, "labels": FILE}, "--test and --labels: for two folders"),
        ({"simulated": None, "test": C}, "--real alone"),
        ({"test": C, "domain": True}, "leave --plugin and --recipe out"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(given, part):
    with pytest.raises(UserError) as error:
        options(**given)
    assert part in str(error.value)


def test_a_resumed_run_is_given_its_folders():
    roots = options(test=C).roots()["data"]
    assert {role: Path(source["options"]["root"]).name for role, source in roots.items()} == {
        "simulated": "a",
        "real": "b",
        "test": "c",
    }
    assert set(options().roots()["data"]) == {"simulated", "real"}


def test_a_run_of_other_test_photographs_is_refused(here):
    for run, test in (("plain", None), ("labelled", Path("test"))):
        (here / run).mkdir()
        (here / run / "config.toml").write_text(configure(run, test=test).to_toml())

    def check(run, test):
        TwoFolders(Path("renders"), Path("photographs"), test=test).check_run(Path(run))

    check("plain", None)
    check("labelled", Path("test"))
    check("labelled", None)  # it keeps its own
    with pytest.raises(UserError, match="plain: is a run without --test; choose another --run"):
        check("plain", Path("test"))
    Path("others").mkdir()
    with pytest.raises(UserError, match=r"labelled: is a run of .*test, not of others; choose another --run"):
        check("labelled", Path("others"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in "ab":
        folder(tmp_path / "renders" / name, 6, (32, 40))
        folder(tmp_path / "test" / name, 3, (35, 48), photograph)
    folder(tmp_path / "photographs", 12, (40, 60), photograph)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(run="run", **more):
    folders = TwoFolders(Path("renders"), Path("photographs"), minutes=0.1, **more)
    return choose_configuration(folders, Path(run), None, list(SHORT), Catalog.of(()), SINGLE_PROCESS)


def test_the_options_reach_the_configuration_and_the_terminal(here, capsys):
    config = configure(test=Path("test"))
    assert config.data.test.options["root"] == str(here / "test")
    assert config.evaluation.evaluator.name == "classification"
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("labels: 2 classes (a, b); 12 renders, 6 test photographs") for line in lines)
    (here / "renders/l.csv").write_text("file,x\n" + "".join(f"a/00{n}.png,{n}\n" for n in range(6)))
    (here / "test/l.csv").write_text("file,x\na/000.png,1\n")
    config = configure(test=Path("test"), labels=Path("l.csv"), names=("x",))
    assert config.evaluation.evaluator.options["mean"] == [2.5]


def test_a_run_in_the_test_photographs_is_refused(here):
    with pytest.raises(UserError, match=r"test/run: lies in test, whose pictures would include its own"):
        configure("test/run", test=Path("test"))
