"""The run that is chosen for two folders of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import saved
from PIL import Image
from renders import folder, photograph

from synthreal.core.discriminator import LocalDiscriminator
from synthreal.data.pictures import PicturesOptions, read_pictures
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.train import recipe
from synthreal.train.recipe import choose_crop, choose_recipe, settings
from synthreal.train.timing import SHARE, Seconds, training_time

CORE = Catalog.of(())
CPU = {"runtime": {"device": "cpu"}}
pytestmark = pytest.mark.usefixtures("known_times")


def sizes_of(number):
    return 27 + number, 40 + 2 * number


@pytest.fixture
def two(tmp_path):
    """Small renders of one size, and photographs of mixed sizes."""
    renders = folder(tmp_path / "renders", 12, (32, 40))
    return renders, folder(tmp_path / "photographs", 20, sizes_of, photograph, suffix="ppm")


def chosen(two, *differences, **more):
    return choose_recipe(*two, CORE, CPU, *differences, **more)


def windows(source):
    return [item.image for item in read_pictures(PicturesOptions(**source.options))]


def test_small_renders_of_one_size_are_used_whole(two):
    config = chosen(two).config
    assert (config.image.shape, config.image.dtype) == ((3, 32, 40), "uint8")
    assert config.schedule.patch is None
    assert config.data.simulated.options["scale"] is None and config.data.real.options["scale"] == 32
    for source in (config.data.simulated, config.data.real):
        assert {image.shape for image in windows(source)} == {(3, 32, 40)}
    assert len(windows(config.data.simulated)) == 12
    assert config.evaluation.evaluator is None and config.recipe == "pictures" and config.plugins == ()


def test_large_pictures_are_cut_into_windows_and_patches(tmp_path):
    two = folder(tmp_path / "a", 4, (240, 320)), folder(tmp_path / "b", 4, (300, 200), photograph)
    config = chosen(two).config
    assert config.image.shape == (3, 128, 128) and config.schedule.patch == 64
    assert config.data.simulated.options["crops"] == 5  # 240 * 320 / 128**2
    assert config.data.real.options["crops"] == 5 and config.data.real.options["scale"] == 240
    native = chosen(two, scale="native").config.data.real.options
    assert (native["crops"], native["scale"]) == (4, None)


def test_a_tenth_of_the_pictures_may_be_smaller_than_a_window():
    large = ((200, 300),) * 20
    assert choose_crop(large, large) == (128, 128)
    assert choose_crop(large, ((90, 100),) * 20) == (90, 90)
    assert choose_crop(large, ((90, 100), *large[1:])) == (128, 128)
    assert choose_crop(large, ((90, 100),) * 3 + large[3:]) == (90, 90)
    assert choose_crop(((2, 3),) * 3, large) == (8, 8)


def test_renders_are_whole_only_if_small_and_covered_by_photographs():
    small, square = ((30, 60),) * 5, ((40, 40),) * 5
    assert choose_crop(small, ((35, 70),) * 5) == (30, 60)
    assert choose_crop(small, square) == (30, 30)
    assert choose_crop(((30, 66),) * 5, ((35, 70),) * 5) == (30, 30)
    assert choose_crop((*small, (30, 61)), ((35, 70),) * 5) == (30, 30)


@pytest.mark.parametrize(
    ("renders", "photographs", "channels", "dtype"),
    [
        ("RGB", "RGB", 3, "uint8"),
        ("L", "L", 1, "uint8"),
        ("L", "RGB", 1, "uint8"),
        ("RGB", "L", 3, "uint8"),
        ("16", "16", 1, "uint16"),
        ("16", "L", 1, "uint8"),
        ("RGBA", "RGB", 3, "uint8"),
    ],
)
def test_channels_and_depth_are_those_of_the_files(tmp_path, renders, photographs, channels, dtype):
    two = folder(tmp_path / "a", 2, (20, 20), mode=renders), folder(tmp_path / "b", 2, (20, 20), mode=photographs)
    config = chosen(two).config
    assert (config.image.channels, config.image.dtype) == (channels, dtype)
    assert config.history.dtype == ("float32" if dtype == "uint16" else "uint8")


def test_a_gpu_gets_larger_networks_and_mini_batches_and_no_patches():
    image = {"channels": 3, "height": 128, "width": 128, "dtype": "uint8"}
    cpu, gpu = (settings(image, gpu=gpu) for gpu in (False, True))
    assert gpu["refiner"]["options"]["width"] > cpu["refiner"]["options"]["width"]
    assert (cpu["schedule"]["patch"], gpu["schedule"]["patch"]) == (64, None)
    assert gpu["schedule"]["batch"] > cpu["schedule"]["batch"]
    assert gpu["quality"]["images"] > cpu["quality"]["images"]


def test_the_discriminator_sees_more_of_windows_of_large_pictures():
    def seen(side):
        layers = settings({"channels": 1, "height": side, "width": side, "dtype": "uint8"}, gpu=False)["discriminator"]
        options = CORE.network("discriminator", "local").options(**layers["options"])
        return LocalDiscriminator(1, options.layers).receptive_field

    assert (seen(48), seen(128)) == (15, 23)


def test_minutes_decide_about_the_steps(two):
    short, long = (chosen(two, minutes=minutes).config.schedule for minutes in (2, 10))
    assert 100 <= short.steps < long.steps
    assert chosen(two, minutes=2).warnings == chosen(two, minutes=10).warnings
    brief = chosen(two, minutes=0.1)
    assert brief.config.schedule.steps == 100
    assert any("more than --minutes 0.1" in warning for warning in brief.warnings)


def test_a_shorter_or_longer_training_of_the_user_has_its_reports_sheets_and_checkpoints(two):
    config = chosen(two, {"schedule": {"steps": 24}}).config
    assert (config.quality.every, config.schedule.sheet_every, config.schedule.save_every) == (4, 6, 6)
    own = chosen(two, {"schedule": {"steps": 24, "save_every": 9}, "quality": {"every": 5}}).config
    assert (own.quality.every, own.schedule.sheet_every, own.schedule.save_every) == (5, 6, 9)
    assert chosen(two, {"schedule": {"steps": 1}, "quality": None}).config.schedule.save_every == 1


def test_the_warning_about_the_time_names_who_has_chosen_the_steps(two):
    def warned(*differences, minutes):
        return [line for line in chosen(two, *differences, minutes=minutes).warnings if "--minutes" in line]

    assert [line.partition(" about")[0] for line in warned(minutes=0.1)] == ["the shortest training takes"]
    (line,) = warned({"schedule": {"steps": 100_000}}, minutes=2)
    assert line.startswith("the steps set take about 50") and line.endswith("more than --minutes 2")
    assert warned({"schedule": {"steps": 5}}, minutes=2) == []


def test_the_time_that_reading_takes_is_left_for_it(two, monkeypatch):
    quick = chosen(two, minutes=5).config.schedule
    monkeypatch.setattr(recipe, "reading_seconds", lambda options: 3.0)
    slow = chosen(two, minutes=5)
    assert slow.config.data.real.options["files"] == 12
    assert slow.config.schedule.steps < 0.9 * quick.steps
    assert not any("--minutes" in warning for warning in slow.warnings)


@pytest.mark.parametrize(("refining", "left"), [(30, 30), (3000, 75)])
def test_time_is_left_for_refining_the_renders_but_a_quarter_at_most(two, monkeypatch, refining, left):
    times = Seconds(0.1, 0.05, 0.3, 1.0, refining / (12 * 32 * 40))

    def needed(choice):
        phases = ("refiner_steps", "discriminator_steps", "steps")
        return training_time(times, {name: getattr(choice.config.schedule, name) for name in phases})

    without = needed(chosen(two, minutes=5))
    monkeypatch.setattr(recipe, "training_seconds", lambda config, catalog: times)
    choice = chosen(two, minutes=5)
    assert without - needed(choice) == pytest.approx(SHARE * left, rel=0.2)
    assert choice.lines[1].endswith(f"refining: {refining / 60:.1f} minutes")


def test_settings_of_the_user_win_and_the_rest_follows_from_them(two, monkeypatch):
    timed = []
    seconds = Seconds(0.1, 0.05, 0.3, 1.0, 0.0)
    monkeypatch.setattr(recipe, "training_seconds", lambda config, catalog: timed.append(config) or seconds)
    config = chosen(two, {"schedule": {"steps": 7, "batch": 4}, "refiner": {"options": {"width": 5}}}).config
    assert (config.schedule.steps, config.schedule.batch, config.refiner.options["width"]) == (7, 4, 5)
    assert (timed[0].schedule.batch, timed[0].refiner.options["width"]) == (4, 5)
    with pytest.raises(UserError, match=r"--set: schedule\.stps: no such setting; did you mean schedule\.steps"):
        chosen(two, {"schedule": {"stps": 7}})
    with pytest.raises(UserError, match="device"):
        chosen(two, {"runtime": {"device": "tpu"}})


def test_the_settings_of_another_run_apply_to_the_folders_given(two, tmp_path):
    before = chosen(two, {"loss": {"weight": 3.0}}).config
    others = folder(tmp_path / "a", 3, (50, 60)), folder(tmp_path / "b", 3, (50, 60), photograph)
    config = chosen(others, before.tree()).config
    assert (config.loss.weight, config.image) == (3.0, before.image)
    assert [config.data.simulated.options["root"], config.data.real.options["root"]] == list(map(str, others))
    other = {"data": {"real": {"name": "folder", "options": {"root": "elsewhere"}}}}
    assert chosen(two, other).config.data.real.options["root"] == "elsewhere"


def test_no_more_files_are_read_than_there_is_time_and_room_for(two, monkeypatch):
    monkeypatch.setattr(recipe, "reading_seconds", lambda options: 10.0)
    assert chosen(two, minutes=10).config.data.real.options["files"] == 7
    assert chosen(two, minutes=0.01).config.data.real.options["files"] == 2
    monkeypatch.setattr(recipe, "reading_seconds", lambda options: 0.001)
    assert chosen(two).config.data.real.options["files"] is None
    monkeypatch.setattr(recipe, "MOST_WINDOWS", 15)
    few = chosen(two)
    assert [few.config.data.real.options[name] for name in ("files", "crops")] == [15, 1]
    assert "photographs: 15 of 20, a random choice" in few.lines[0] and "renders: 12, colour" in few.lines[0]


def test_the_lines_say_what_is_there_and_what_is_done(two):
    found, training = chosen(two).lines
    assert found.startswith(
        "renders: 12, colour, 8 bits, 32x40 px; photographs: 20, colour, 8 bits, shorter side 27 to"
    )
    assert found.endswith("brought to 32 px")
    assert "brought" not in chosen(two, scale="native").lines[0]
    assert "windows of 32x40 px" in training and " steps, about " in training


def test_peculiar_pictures_are_mentioned(two):
    renders, photographs = two
    before = len(chosen(two).warnings)
    frames = [Image.fromarray(np.full((40, 50, 3), value, np.uint8)) for value in (1, 2)]
    (photographs / "a.gif").write_bytes(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    Image.fromarray(np.eye(32, 40, dtype=np.uint8)).save(renders / "grey.png")
    exif = Image.Exif()
    exif[274] = 3
    folder(renders / "turned", 1, (32, 40), exif=exif)
    warnings = chosen(two).warnings
    assert len(warnings) == before + 3
    for part in ("1 of 21 photographs hold several", "1 of 14 renders are grey", "EXIF turns 1 of 14 renders"):
        assert any(part in warning for warning in warnings)
    folder(photographs / "narrow", 2, (10, 90), photograph)
    assert any("2 of 23 photographs are smaller" in warning for warning in chosen(two, scale="native").warnings)


def test_enlarged_photographs_are_mentioned(two):
    renders, photographs = two
    for pair, scale, expected in (
        (two, "renders", False),
        ((folder(renders.parent / "large", 2, (90, 120)), photographs), "renders", True),
        ((renders.parent / "large", photographs), "native", False),
    ):
        warnings = chosen(pair, scale=scale).warnings
        assert any("are enlarged 2.5 times" in warning for warning in warnings) == expected


def test_photographs_far_smaller_than_renders_are_refused_unless_they_stay(tmp_path):
    two = folder(tmp_path / "a", 2, (200, 200)), folder(tmp_path / "b", 2, (20, 20), photograph)
    with pytest.raises(UserError, match=r"b: its pictures would be enlarged 10 times, to 200 px.*give --scale native"):
        chosen(two)
    assert chosen(two, scale="native").config.image.height == 20


def test_few_photographs_are_mentioned_even_if_their_windows_are_many(tmp_path):
    two = folder(tmp_path / "a", 2, (260, 300)), folder(tmp_path / "b", 40, (260, 300), photograph)
    assert any("few photographs: 40" in warning for warning in chosen(two).warnings)


def test_one_folder_or_one_inside_the_other_is_refused(two, tmp_path):
    renders, photographs = two
    (tmp_path / "link").symlink_to(renders, target_is_directory=True)
    for other in (renders, tmp_path / "photographs/../renders", tmp_path / "link"):
        with pytest.raises(UserError, match="the same folder; give another one"):
            chosen((renders, other))
    for pair in ((tmp_path, photographs), (renders, tmp_path)):
        with pytest.raises(UserError, match=r"lies in .*; move it out"):
            chosen(pair)
