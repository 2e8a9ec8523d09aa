"""The schedule that fits into a time, from the measured time of single steps."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from quick import configured
from renders import folder

from synthreal.data import pictures
from synthreal.data.pictures import PicturesOptions
from synthreal.metrics.displacement import is_measurable
from synthreal.train import timing
from synthreal.train.timing import FEWEST, MOST, Seconds, reading_seconds, steps_within, training_seconds, training_time

SECONDS = Seconds(refiner=0.1, discriminator=0.05, game=0.3, quality=2.0, pixel=0.0)


@pytest.mark.parametrize("minutes", [2, 5, 10, 15])
def test_a_schedule_takes_most_of_its_time_and_no_more(minutes):
    schedule = steps_within(SECONDS, 60 * minutes)
    needed = training_time(SECONDS, schedule) + 7 * SECONDS.quality + 10
    assert 0.7 * 60 * minutes <= needed <= 60 * minutes
    assert 50 <= schedule["refiner_steps"] <= 200 and 10 <= schedule["discriminator_steps"] <= 50


def test_there_are_always_enough_steps_and_never_needless_ones():
    for available in (0, -100, float("nan")):
        assert steps_within(SECONDS, available) == {"refiner_steps": 50, "discriminator_steps": 10, "steps": FEWEST}
    assert steps_within(SECONDS, 1e9) == {"refiner_steps": 200, "discriminator_steps": 50, "steps": MOST}


def test_larger_networks_and_more_images_take_longer(toy):
    small = training_seconds(configured(toy, "quality.images=20"), toy)
    more = ("quality.images=200", "refiner.options.width=96", "schedule.batch=24")
    wide = training_seconds(configured(toy, *more), toy)
    assert all(value > 0 for value in vars(small).values())
    assert wide.refiner > 3 * small.refiner and wide.game > 3 * small.game and wide.quality > small.quality
    assert wide.pixel > 3 * small.pixel
    assert training_seconds(configured(toy, "quality=none"), toy).quality == 0


def slow(seconds, call=lambda *given: None):
    def run(*given):
        time.sleep(seconds)
        return call(*given)

    return run


def test_a_quality_report_is_timed_whole(toy, monkeypatch):
    monkeypatch.setattr(timing.QualityMonitor, "measure", slow(0.3))
    assert training_seconds(configured(toy, "quality.images=20"), toy).quality >= 0.3


def test_adapting_lambda_is_part_of_a_step(toy, monkeypatch):
    given = []
    monkeypatch.setattr(
        timing, "WeightControl", lambda loss, images: given.append(images) or SimpleNamespace(update=slow(2.0))
    )
    settings = "quality=none", "refiner.options.width=2"
    assert training_seconds(configured(toy, *settings), toy).game < 0.2 and not given
    assert training_seconds(configured(toy, *settings, "loss.weight=auto"), toy).game > 0.2
    assert given[0].shape == (32, 1, 12, 16)


def test_the_random_images_of_the_timing_have_a_displacement():
    for channels, height, width in ((1, 24, 24), (3, 128, 128)):
        assert is_measurable(torch.rand(32, channels, height, width, generator=torch.Generator().manual_seed(0)))


def test_listing_a_folder_is_no_part_of_reading_a_file(tmp_path, monkeypatch):
    options = PicturesOptions(root=str(folder(tmp_path / "a", 3, (20, 30))), crop=(8, 8))
    monkeypatch.setattr(pictures, "picture_files", slow(0.5, pictures.picture_files))
    assert reading_seconds(options) < 0.5 / 3


def test_reading_is_timed_on_the_first_files(tmp_path, monkeypatch):
    options = PicturesOptions(root=str(folder(tmp_path / "a", 5, (20, 30))), crop=(8, 8))
    read = []
    original = timing.read_pictures
    monkeypatch.setattr(timing, "read_pictures", lambda given: (read.append(item) or item for item in original(given)))
    assert reading_seconds(options) > 0 and len(read) == 5
    monkeypatch.setattr(timing, "READING_SECONDS", 0.0)
    assert reading_seconds(options) > 0 and len(read) == 6
