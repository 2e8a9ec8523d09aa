"""``adapt``: two folders in, refined renders and a page out, in one command that can be run again."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from PIL import Image
from quick import files, flags, weights
from renders import SHORT, folder, photograph

from synthreal import train
from synthreal.cli import adapt as adapting


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder(tmp_path / "renders", 24, lambda number: (40 + number, 70))
    (tmp_path / "renders/003.json").write_text("{}")
    folder(tmp_path / "photographs", 24, lambda number: (60, 50 + 2 * number), photograph, suffix="jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unjudged(monkeypatch):
    """Neither compares training sets nor writes the page, which other tests check and which takes half of the time."""
    for name in ("evaluate", "report"):
        monkeypatch.setattr(adapting, name, lambda *paths, **options: None)


def adapt(*arguments, renders="renders", photographs="photographs", out="out"):
    return ("adapt", renders, photographs, out, "--minutes", 1, *flags(*SHORT), *arguments)


def test_renders_are_refined_and_reported(here, cli):
    done = cli(*adapt()).ok()
    assert files(here / "out") == files(here / "renders")
    changed = 0
    for path in (here / "renders").glob("*.png"):
        with Image.open(path) as before, Image.open(here / "out" / path.name) as after:
            assert (before.size, before.mode) == (after.size, after.mode)
            changed += before.tobytes() != after.tobytes()
    assert changed == 24
    assert Path("runs/pictures/report.html").is_file()
    verdict = json.loads(Path("runs/pictures/evaluation.json").read_text())["verdict"]
    assert verdict["sentence"] in " ".join(done.out.split())
    assert verdict["sentence"] in html.unescape(Path("runs/pictures/report.html").read_text())
    assert set(verdict["scores"]) == {"simulated", "refined", "fda"}


def test_a_second_call_continues_a_run_and_changes_nothing_when_all_is_done(here, cli, unjudged):
    cli("fit", "--simulated", "renders", "--real", "photographs", "--run", "run", "--minutes", 1, *flags(*SHORT)).ok()
    longer = ("--run", "run", "--set", "schedule.steps=6")
    cli(*adapt(*longer)).ok()
    before, refined = weights(Path("run")), [path.read_bytes() for path in sorted((here / "out").iterdir())]
    done = cli(*adapt(*longer)).ok()
    assert done.out.count("was complete already") == 2  # the training and the refining
    assert weights(Path("run")) == before
    assert [path.read_bytes() for path in sorted((here / "out").iterdir())] == refined


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"out": "renders/out"}, ("renders/out", "choose another place")),
        ({"out": "photographs/../mine"}, ("mine", "already exists")),
        ({"out": "photographs/out"}, ("photographs/out", "choose another place")),
        ({"out": "out.tar"}, ("out.tar", "choose a name without .tar")),
        ({"photographs": "renders"}, ("same folder",)),
        ({"photographs": "nothing"}, ("nothing: no such folder",)),
        ({"photographs": "empty"}, ("empty: no image file",)),
        ({"photographs": "one"}, ("one: one picture is too few",)),
        ({"photographs": "black"}, ("black: each of its pictures has a single colour",)),
    ],
    ids=["inside", "taken", "inside photographs", "suffix", "same", "missing", "empty", "one", "black"],
)
def test_bad_folders_are_one_line_before_training(here, cli, arguments, words):
    for name in ("mine", "empty"):
        (here / name).mkdir()
    (here / "mine/notes.txt").write_text("mine")
    folder(here / "one", 1, (60, 60), photograph)
    folder(here / "black", 3, (60, 60), lambda rng, size: 0 * photograph(rng, size))
    before = files(here)
    line = cli(*adapt(**arguments)).complaint()
    assert all(word in line for word in words)
    assert files(here) == before


def test_refined_renders_of_an_earlier_state_are_replaced_only_when_asked(here, cli, unjudged):
    cli(*adapt()).ok()
    old = (here / "out/003.png").read_bytes()
    line = cli(*adapt("--set", "schedule.steps=30")).complaint()
    assert "out: already exists" in line and "--overwrite" in line
    assert "already exists" in cli(*adapt("--run", "other")).complaint() and not Path("other").exists()
    cli(*adapt("--set", "schedule.steps=30", "--overwrite")).ok()
    assert (here / "out/003.png").read_bytes() != old


def test_a_run_of_other_folders_is_not_continued(here, cli, unjudged):
    cli(*adapt()).ok()
    folder(here / "more", 4, (60, 60), photograph)
    line = cli(*adapt(photographs="more", out="other")).complaint()
    assert "runs/pictures: is a run of " in line and "choose another --run" in line and not Path("other").exists()
    assert "photograph: no such folder; runs/pictures is a run of " in cli(*adapt(photographs="photograph")).complaint()


@pytest.mark.usefixtures("short_two_sample_tests")
def test_models_are_compared_on_labelled_photographs(here, cli):
    for name in ("a", "b"):
        folder(here / "classes" / name, 12, (40, 50))
        folder(here / "test" / name, 4, (50, 45), photograph)
    settings = "--set", "evaluation.epochs=1"
    done = cli(*adapt("--test", "test", *settings, renders="classes")).ok()
    assert "Tested on 8 real images (pictures, test)" in done.out
    found = json.loads(Path("runs/pictures/evaluation.json").read_text())
    assert list(found["arms"]) == list(found["confusion"]) == adapting.ARMS.split(",")
    assert found["classes"] == ["a", "b"]
    assert all(sum(map(sum, confusion["counts"])) == 8 for confusion in found["confusion"].values())
    assert found["verdict"]["labelled"] and found["verdict"]["sentence"] in " ".join(done.out.split())
    before = files(here)
    assert "runs/pictures: is a run of " in cli(*adapt("--test", "photographs", renders="classes")).complaint()
    other = cli(*adapt("--test", "test", "--labels", "other.csv", renders="classes")).complaint()
    assert "runs/pictures: has --labels none, not " in other and "other.csv" in other
    named = cli(*adapt("--test", "test", "--label", "kind", renders="classes")).complaint()
    assert "has --label none, not kind" in named
    assert "test/out: lies in test" in cli(*adapt("--test", "test", renders="classes", out="test/out")).complaint()
    assert files(here) == before


@pytest.mark.parametrize("at", ["choose_recipe", "fit"])
def test_an_interruption_says_that_the_same_command_continues(here, cli, monkeypatch, at):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.recipe if at == "choose_recipe" else train.fit, at, stop)
    done = cli(*adapt())
    assert done.code == 130 and "Traceback" not in done.err
    assert "the same command continues" in done.err.splitlines()[-1]


def test_training_refining_and_reporting_use_the_device_of_the_run(here, cli, monkeypatch):
    used = []
    for name in ("refine", "evaluate", "report"):
        monkeypatch.setattr(adapting, name, lambda *paths, device, **options: used.append(device))
    cli(*adapt()).ok()
    assert used == ["cpu"] * 3


def test_a_run_inside_the_photographs_is_refused(here, cli):
    before = files(here)
    assert "photographs/run" in cli(*adapt("--run", "photographs/run")).complaint()
    assert files(here) == before
