"""A run of two folders of pictures from the command line."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import TOY, files, flags, weights
from renders import SHORT, folder, photograph


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Renders of mixed sizes with sidecars, and photographs of mixed sizes; tests must not write into it."""
    root = tmp_path_factory.mktemp("pictures")
    renders = folder(root / "renders", 24, lambda number: (40 + number, 70))
    (renders / "003.json").write_text("{}")
    folder(root / "photographs", 24, lambda number: (60, 50 + 2 * number), photograph, suffix="jpg")
    return root


@pytest.fixture
def here(pictures, tmp_path, monkeypatch):
    for name in ("renders", "photographs"):
        (tmp_path / name).symlink_to(pictures / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(*arguments):
    return ("fit", "--simulated", "renders", "--real", "photographs", *flags(*SHORT), *arguments)


def test_two_folders_are_fitted_resumed_reported_and_refined(here, cli):
    done = cli(*fit("--minutes", 1)).ok()
    assert done.out.startswith("runs/pictures: step 6, saved the weights")
    found, training, *_ = done.err.splitlines()
    assert found.startswith("renders: 24, colour, 8 bits, shorter side 40 to 63 px; photographs: 24")
    assert training.startswith("training on windows of 42x42 px")
    run = Path("runs/pictures")
    shown = tomllib.loads((run / "config.toml").read_text())
    assert (shown["recipe"], shown["plugins"], shown["schedule"]["steps"]) == ("pictures", [], 3)
    roots = [Path(shown["data"][role]["options"]["root"]) for role in ("simulated", "real")]
    assert roots == [here / "renders", here / "photographs"]

    cli(*fit("--resume", "--minutes", 5, "--set", "schedule.steps=5")).ok()  # the minutes do not count
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 8
    cli("fit", "--resume", "--run", run, "--set", "schedule.steps=6").ok()
    page = cli("report", run).ok() and (run / "report.html").read_text()
    assert f"synthreal fit --simulated {here}/renders --real {here}/photographs --config" in page

    cli("refine", run, "renders", "out").ok()
    assert files(here / "out") == files(here / "renders")
    for path in (here / "renders").glob("*.png"):
        with Image.open(path) as before, Image.open(here / "out" / path.name) as after:
            assert (before.size, before.mode) == (after.size, after.mode)


def test_a_run_cut_off_continues_with_the_same_bits(here, cli):
    cli(*fit("--run", "whole", "--minutes", 0.1)).ok()
    settings = ("--run", "cut", "--minutes", 0.1, "--set", "schedule.save_every=1")
    cli(*fit(*settings, "--set", "schedule.steps=1")).ok()
    cli("fit", "--run", "cut", "--resume", "--set", "schedule.steps=3").ok()
    whole, cut = (tomllib.loads(Path(run, "config.toml").read_text()) for run in ("whole", "cut"))
    assert whole["image"] == cut["image"]
    assert weights(Path("whole")) == weights(Path("cut"))


def test_scale_decides_about_the_photographs(here, cli):
    for scale, expected in (("renders", 52), ("native", "none")):
        cli(*fit("--run", f"in-{scale}", "--scale", scale, "--minutes", 0.1)).ok()
        shown = tomllib.loads(Path(f"in-{scale}", "config.toml").read_text())
        assert shown["data"]["real"]["options"]["scale"] == expected


def test_refined_pictures_keep_their_orientation(here, cli):
    cli(*fit("--minutes", 0.1)).ok()
    exif = Image.Exif()
    exif[274] = 6
    folder(here / "turned", 2, (50, 80), exif=exif)
    cli("refine", "runs/pictures", "turned", "out").ok()
    with Image.open("out/001.png") as after:
        assert (after.size, after.getexif()[274]) == ((80, 50), 6)


def test_bad_input_is_one_line_and_leaves_nothing(here, cli):
    Path("empty").mkdir()
    folder(here / "one", 1, (40, 40))
    Path("black").mkdir()
    for name in "abc":
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(f"black/{name}.png")
    shutil.copytree("renders", "more/renders")
    Path("again").symlink_to("photographs", target_is_directory=True)
    Path("taken/checkpoints").mkdir(parents=True)
    Path("taken/checkpoints/step-00000001.pt").write_text("a run")
    Path("file").write_text("mine")
    before = files(here)

    def two(simulated, real, *more):
        return ("fit", "--simulated", simulated, "--real", real, "--run", "new", *flags(*SHORT), *more)

    for case, parts in {
        two("nowhere", "photographs"): ["nowhere: no such folder", "give a folder of renders"],
        two("renders", "file"): ["file: no such folder", "give a folder of photographs"],
        two("renders", "empty"): ["empty: no image file", "give a folder of photographs"],
        two("empty", "photographs"): ["empty: no image file", "give a folder of renders"],
        two("photographs", "renders"): ["renders: its pictures look drawn", "swap the two"],
        two("photographs", "again"): ["the same folder", "give another"],
        two("more", "more/renders"): ["more/renders: lies in more", "move it out"],
        two("renders", "one"): ["one: one picture is too few", "give 2"],
        two("renders", "black"): ["black: each of its pictures has a single colour", "check how"],
        two("renders", "photographs", "--plugin", TOY): ["--simulated and --real", "leave --plugin"],
        two("renders", "photographs", "--recipe", "toy"): ["--simulated and --real", "--recipe out"],
        two("renders", "photographs", "--run", "taken"): ["taken: already holds a run", "--resume"],
        two("renders", "photographs", "--scale", "half"): ["--scale", "native"],
        two("renders", "photographs", "--minutes", -1): ["--minutes"],
        two("renders", "photographs", "--set", "loss.wight=1"): ["loss.wight", "loss.weight"],
        ("fit", "--real", "photographs"): ["--real alone", "give both"],
        ("fit", "--simulated", "renders"): ["--simulated alone", "give both"],
        ("fit", "--plugin", TOY, "--minutes", 3): ["--minutes", "give --simulated and --real"],
        ("fit", "--plugin", TOY, "--scale", "native"): ["--scale", "give --simulated and --real"],
        two("renders", "photographs", "--resume"): ["new: holds no run"],
    }.items():
        line = cli(*case).complaint()
        assert all(part in line for part in parts), f"{case}: {line}"
        assert files(here) == before, case


def test_a_resumed_run_keeps_its_folders(here, cli):
    cli(*fit("--run", "run", "--minutes", 0.1)).ok()
    Path("other").mkdir()
    line = cli("fit", "--simulated", "renders", "--real", "other", "--run", "run", "--resume").complaint()
    assert "run: is a run of " in line and "not of other; choose another --run" in line
