"""The run that is chosen for two folders of pictures with labels."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch
from renders import folder, photograph

from synthreal.data.pictures import PicturesOptions, read_pictures
from synthreal.errors import UserError
from synthreal.evaluation.estimator import Task
from synthreal.hooks.catalog import Catalog
from synthreal.report.facts import _domain_options
from synthreal.spec import LabelSpec, Sample
from synthreal.train import labelled
from synthreal.train.data_warnings import origin_warnings
from synthreal.train.recipe import choose_recipe, settings
from synthreal.train.timing import Seconds, estimator_seconds, training_time

CORE = Catalog.of(())
CPU = {"runtime": {"device": "cpu"}}


@pytest.fixture(autouse=True)
def known_epochs(known_times, monkeypatch):
    monkeypatch.setattr(labelled, "estimator_seconds", lambda config, catalog, labels: 0.1)


def sizes_of(number):
    return 27 + number, 40 + 2 * number


@pytest.fixture
def here(tmp_path):
    """Small renders of one size in class folders, photographs, and labelled photographs of mixed sizes."""
    for number, name in enumerate("ab"):
        folder(tmp_path / "renders" / name, 15 + number, (32, 40))
        folder(tmp_path / "test" / name, 4 + number, sizes_of, photograph)
    folder(tmp_path / "photographs", 20, sizes_of, photograph, suffix="ppm")
    return tmp_path


def chosen(here, *differences, test="test", renders="renders", **more):
    labelled_test = None if test is None else here / test
    return choose_recipe(here / renders, here / "photographs", CORE, CPU, *differences, test=labelled_test, **more)


def table(folder, *columns):
    """A table of numbers for all pictures of a folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.p*"))
    rows = [
        f"{name},{','.join(str(number * (k + 1)) for k in range(len(columns)))}" for number, name in enumerate(names)
    ]
    (folder / "labels.csv").write_text("\n".join([f"file,{','.join(columns)}", *rows]) + "\n")
    return folder / "labels.csv"


def test_class_folders_become_labels_test_data_and_an_evaluator(here):
    choice = chosen(here)
    config = choice.config
    assert config.image.shape == (3, 32, 40) and config.schedule.patch is None
    for role, count in (("simulated", 31), ("test", 9)):
        options = PicturesOptions(**getattr(config.data, role).options)
        assert options.labels.classes == ("a", "b") and (options.crops, options.scale) == (1, None)
        items = list(read_pictures(options))
        assert len(items) == count and {item.image.shape for item in items} == {(3, 32, 40)}
    assert config.data.real.options["labels"] is None and config.data.real.options["scale"] == 32
    evaluation = config.evaluation
    assert (evaluation.evaluator.name, evaluation.evaluator.options["classes"]) == ("classification", 2)
    assert (evaluation.images, evaluation.batch) == (31, 3)
    assert "2 classes (a, b); 31 renders, 9 test photographs" in choice.lines[2]
    assert "estimator of the evaluation: classification" in choice.lines[3]
    assert chosen(here, test=None).config.evaluation.evaluator is None and len(chosen(here, test=None).lines) == 2


def test_numbers_become_values_and_their_statistics_options(here):
    file = table(here / "renders", "x", "y")
    table(here / "test", "x", "y")
    config = chosen(here, labels=file).config
    options = PicturesOptions(**config.data.test.options)
    assert options.labels.spec == LabelSpec("values", (2,), "as given")
    assert options.labels.file == str(here / "test/labels.csv")
    assert config.evaluation.evaluator.options["mean"] == [15.0, 30.0]
    assert chosen(here, labels=file, names=("y",)).config.evaluation.evaluator.options["mean"] == [30.0]
    first = next(item for item in read_pictures(options) if isinstance(item, Sample))
    assert first.labels["values"].shape == (2,)


def test_other_settings_of_a_user_win_and_no_evaluator_is_no_error(here):
    config = chosen(here, {"evaluation": {"epochs": 3, "evaluator": {"options": {"width": 5}}}}).config
    assert (config.evaluation.epochs, config.evaluation.evaluator.options["width"]) == (3, 5)
    assert chosen(here, {"evaluation": {"evaluator": None}}).config.evaluation.evaluator is None
    assert chosen(here, {"data": {"test": None}}).config.data.test is None


def test_the_folders_and_labels_of_the_command_win_over_those_of_a_file(here):
    before = chosen(here).config
    shutil.copytree(here / "test", here / "others")
    shutil.move(here / "others/b", here / "others/c")
    shutil.copytree(here / "renders", here / "more")
    shutil.move(here / "more/b", here / "more/c")
    config = chosen(here, before.tree(), test="others", renders="more").config
    for role in (config.data.simulated, config.data.test):
        assert role.options["labels"]["classes"] == ["a", "c"]
    assert config.data.test.options["root"] == str(here / "others")


def test_the_evaluation_takes_a_third_of_the_time(here, monkeypatch):
    seconds = Seconds(0.1, 0.05, 0.3, 1.0, 0.0)
    monkeypatch.setattr(labelled, "estimator_seconds", lambda config, catalog, labels: 0.3)
    for minutes in (5, 10):
        found = chosen(here, minutes=minutes)
        schedule, evaluation = found.config.schedule, found.config.evaluation
        steps = Task(None, None, None, evaluation).steps[1]
        assert 0.25 * 60 * minutes < 4 * 0.3 * steps <= 60 * minutes / 3
        phases = {name: getattr(schedule, name) for name in ("refiner_steps", "discriminator_steps", "steps")}
        assert 0.4 * 60 * minutes < training_time(seconds, phases) < 60 * minutes * 2 / 3
        assert not any("--minutes" in warning for warning in found.warnings)
    monkeypatch.setattr(labelled, "estimator_seconds", lambda config, catalog, labels: 2.0)
    assert any("more than --minutes 2" in warning for warning in chosen(here, minutes=2).warnings)


def test_mixed_renders_are_brought_to_their_median_size(here):
    for name in "ab":
        folder(here / "mixed" / name, 5 + (name == "b"), lambda number: (60 + 4 * number, 80 + 2 * number))
    config = chosen(here, renders="mixed").config
    assert config.image.shape == (3, 68, 84) and config.schedule.patch == 64
    assert {item.image.shape[1:] for item in read_pictures(PicturesOptions(**config.data.simulated.options))} == {
        (68, 84)
    }


def test_large_whole_renders_are_trained_on_in_patches(here):
    for height, width, gpu, patch in ((48, 60, False, None), (50, 300, False, 50), (480, 640, False, 64)):
        image = {"channels": 3, "height": height, "width": width, "dtype": "uint8"}
        assert settings(image, gpu=gpu)["schedule"]["patch"] == patch
    wide = settings({"channels": 3, "height": 480, "width": 640, "dtype": "uint8"}, gpu=True)
    assert wide["schedule"]["patch"] == 128
    assert (
        settings({"channels": 3, "height": 480, "width": 640, "dtype": "uint8"}, gpu=False)["quality"]["images"] == 20
    )


def test_numbers_of_pictures_that_are_scaled_are_mentioned(here):
    file = table(here / "renders", "x")
    table(here / "test", "x")
    warnings = chosen(here, labels=file).warnings
    assert any("9 of 9 test photographs are brought to 32x40 px, but not their labels" in line for line in warnings)
    assert not any("renders are brought" in line for line in warnings)
    assert not any("not their labels" in line for line in chosen(here).warnings)


def test_pictures_that_lose_a_side_are_mentioned(here):
    folder(here / "test/a/wide", 2, (30, 90), photograph)
    assert any("2 of 11 test photographs have another aspect" in line for line in chosen(here).warnings)
    assert not any("aspect" in line for line in chosen(here, renders="renders", test=None).warnings)


def test_labels_that_are_missing_are_mentioned(here):
    folder(here / "test/below", 1, (32, 40), photograph)
    (here / "test/below/000.png").rename(here / "test/000.png")
    assert any("1 of 10 pictures in" in line and "no class folder" in line for line in chosen(here).warnings)


def test_a_test_folder_that_is_another_or_empty_is_refused(here):
    (here / "empty").mkdir()
    shutil.copytree(here / "test", here / "renders/test")
    for test, part in {
        "photographs": "photographs and .*photographs: the same folder",
        "renders": "renders and .*renders: the same folder",
        "renders/test": "test: lies in .*renders, whose pictures would include it",
        "empty": "empty: no image file .*give a folder of labelled photographs",
        "nowhere": "nowhere: no such folder; give a folder of labelled photographs",
    }.items():
        with pytest.raises(UserError, match=part):
            chosen(here, test=test)


def test_labelled_photographs_in_a_folder_of_their_own_are_no_other_data_set(here):
    assert origin_warnings(chosen(here).config, CORE, "test") == []


def test_the_report_names_the_labels(here):
    first = ["--simulated", f"{here}/renders", "--real", f"{here}/photographs"]
    assert _domain_options(chosen(here, test=None).config) == first
    assert _domain_options(chosen(here).config) == [*first, "--test", f"{here}/test"]
    file = table(here / "renders", "x", "y")
    table(here / "test", "x", "y")
    options = _domain_options(chosen(here, labels=file).config)
    assert options[-4:] == ["--labels", str(file), "--label", "x,y"]


def test_training_steps_of_an_estimator_are_timed(here, monkeypatch):
    seen = []
    config = chosen(here).config
    spec = CORE.evaluator("classification")

    def build(options, image):
        seen.append(options.classes)
        return spec.build(options, image)

    other = SimpleNamespace(**{**vars(spec), "build": build})
    catalog = SimpleNamespace(evaluator=lambda name: other)
    label = {"class": torch.zeros(3, dtype=torch.int64)}
    assert 0 < estimator_seconds(config, catalog, label) < 10 and seen == [2]
