"""The schedule that fits into a time, from the measured time of single steps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from quick import configured
from renders import folder

from synthreal.data import pictures
from synthreal.data.pictures import PicturesOptions, picture_files, read_pictures
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


class Clock:
    """A clock that only work advances, which takes as many seconds as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def working(self, run, seconds):
        """The function ``run``, which takes ``seconds`` of its arguments."""

        def timed(*arguments, **options):
            self.now += seconds(*arguments, **options)
            return run(*arguments, **options)

        return timed


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_updates_are_timed_with_the_networks_and_images_of_the_run(toy, clock, monkeypatch):
    def size(game, x):
        return float(x.numel() * game.refiner.head.in_channels)

    for name, seconds in (
        ("update_refiner", lambda game, x, *, adversarial: size(game, x) * (3 if adversarial else 1)),
        ("update_discriminator", lambda game, x, y: 2 * size(game, x)),
    ):
        monkeypatch.setattr(timing, name, clock.working(getattr(timing, name), seconds))
    pixels = {timing.REFINED_SIDE: timing.REFINED_SIDE**2}  # other previews are part of a quality report
    preview = clock.working(
        timing.refine_preview, lambda game, x: float(pixels.get(x.shape[-1], 0) * game.refiner.head.in_channels)
    )
    monkeypatch.setattr(timing, "refine_preview", preview)
    measure = clock.working(timing.QualityMonitor.measure, lambda monitor, step, refined: float(len(refined)))
    monkeypatch.setattr(timing.QualityMonitor, "measure", measure)
    small = training_seconds(configured(toy, "quality.images=20"), toy)
    work = 8 * 12 * 16 * 4
    assert small == Seconds(refiner=work, discriminator=2 * work, game=8 * work, quality=20, pixel=4)
    changes = ("refiner.options.width=6", "schedule.batch=24", "schedule.patch=10", "schedule.refiner_updates=3")
    other = training_seconds(configured(toy, "quality.images=50", *changes), toy)
    work = 24 * 10 * 10 * 6
    assert other == Seconds(refiner=work, discriminator=2 * work, game=11 * work, quality=50, pixel=6)
    assert training_seconds(configured(toy, "quality=none"), toy).quality == 0


def test_the_first_of_several_updates_is_not_timed(toy, clock, monkeypatch):
    calls = []
    slow = clock.working(
        timing.update_discriminator, lambda *_, **__: calls.append(1) or (60.0 if len(calls) == 1 else 2.0)
    )
    monkeypatch.setattr(timing, "update_discriminator", slow)
    assert training_seconds(configured(toy, "quality=none"), toy).discriminator == 2.0


def test_adapting_lambda_is_part_of_a_step(toy, clock, monkeypatch):
    given = []
    update = clock.working(lambda game: None, lambda game: 3.0 * timing.EVERY)
    monkeypatch.setattr(
        timing, "WeightControl", lambda loss, images: given.append(images) or SimpleNamespace(update=update)
    )
    settings = "quality=none", "refiner.options.width=2"
    assert training_seconds(configured(toy, *settings), toy).game == 0 and not given
    assert training_seconds(configured(toy, *settings, "loss.weight=auto"), toy).game == 3.0
    assert given[0].shape == (32, 1, 12, 16)


def test_the_random_images_of_the_timing_have_a_displacement():
    for channels, height, width in ((1, 24, 24), (3, 128, 128)):
        assert is_measurable(torch.rand(32, channels, height, width, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("each", "files"), [(0.1, 5), (0.4, 3), (5.0, 1)])
def test_reading_is_timed_on_the_first_files_for_a_second_without_listing_them(
    tmp_path, clock, monkeypatch, each, files
):
    options = PicturesOptions(root=str(folder(tmp_path / "a", 5, (20, 30))), crop=(8, 8))
    read = []
    monkeypatch.setattr(pictures, "picture_files", clock.working(picture_files, lambda given: 50.0))
    item = clock.working(lambda item: read.append(item) or item, lambda item: each)
    monkeypatch.setattr(timing, "read_pictures", lambda given: map(item, read_pictures(given)))
    assert reading_seconds(options) == pytest.approx(each) and len(read) == files
