"""The rules of data sets of files, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from broken import PLUGIN, REAL, SIMULATED, changed, failed
from pydantic import Field

from synthreal.errors import UserError
from synthreal.hooks.catalog import Entry
from synthreal.spec import Options, Sample, Skipped
from synthreal.testing.check import run_rule
from synthreal.testing.domain import Domain


def reader(*samples):
    return {"render": None, "read": lambda options: iter(samples)}


GOOD = np.arange(192, dtype=np.uint8).reshape(1, 12, 16)


@pytest.mark.parametrize(
    ("sample", "rule", "word"),
    [
        (Sample(GOOD.astype(np.float32) / 255), "images", "float32"),
        (Sample(GOOD[:, :8]), "images", "1x8x16 uint8"),
        (Sample(GOOD), "labels", "[], not ['centre']"),
        (Sample(GOOD, {"centre": np.zeros((1, 2)), "hue": np.zeros(1)}), "labels", "LabelSpecs"),
        (Sample(GOOD, {"centre": np.array([["left", "top"]])}), "labels", "make it bool, integer or float"),
        (Sample(GOOD, {"centre": np.zeros(2)}), "labels", "(1, 2)"),
        (Sample(GOOD, {"centre": np.full((1, 2), np.nan)}), "labels", "NaN"),
    ],
)
def test_readers(toy, sample, rule, word):
    message = failed(changed(toy, "datasets", SIMULATED, **reader(sample)), rule)[rule]
    assert "'discs' (simulated)" in message and word in message
    good = Sample(GOOD, {"centre": np.zeros((1, 2))})
    assert failed(changed(toy, "datasets", SIMULATED, **reader(good)), rule) == {}


def test_a_reader_of_another_byte_order(toy):
    image = replace(toy.datasets[SIMULATED].spec.image, dtype="uint16")
    for order, words in ((">u2", [">u2", "ImageSpec"]), ("<u2", [])):
        files = reader(Sample(GOOD.astype(order), {"centre": np.zeros((1, 2))}))
        found = failed(changed(toy, "datasets", SIMULATED, image=image, **files), "images")
        assert all(word in found["images"] for word in words) and bool(found) == bool(words)


def test_a_label_has_one_dtype(toy):
    labels = [np.zeros((1, 2), np.int64), np.full((1, 2), 0.5)]
    files = reader(*(Sample(GOOD, {"centre": values}) for values in labels))
    message = failed(changed(toy, "datasets", SIMULATED, **files), "labels")["labels"]
    assert "int64" in message and "float64" in message


def test_labels_of_unlabelled_photographs_need_no_spec(toy):
    assert failed(changed(toy, "datasets", REAL, **reader(Sample(GOOD, {"hue": np.zeros(1)}))), "labels") == {}


@pytest.mark.parametrize(
    "sample",
    [
        Sample(GOOD),
        Sample(GOOD, [np.zeros((1, 2))]),
        Sample(GOOD, {"centre": np.array([["left", "top"]])}),
        Sample(GOOD.astype(np.float64) / 255, {"centre": np.zeros((1, 2))}),
    ],
)
def test_no_rule_takes_a_reader_for_the_library(toy, sample):
    found = failed(changed(toy, "datasets", SIMULATED, **reader(sample, sample)))
    assert {"overfits", "metrics", "detector", "game"} <= found.keys()
    assert all("fails:" not in message for message in found.values())


def test_a_reader_that_returns_nothing(toy):
    catalog = changed(toy, "datasets", SIMULATED, render=None, read=lambda options: None)
    for message in failed(catalog, "images", "labels", "reproducible", "game").values():
        assert "'discs' (simulated): read returns a NoneType; yield Samples" in message


def test_a_reader_in_a_random_order(toy):
    order = iter(range(100))

    def read(options):
        yield Sample(np.full((1, 12, 16), next(order), np.uint8), {"centre": np.zeros((1, 2))})

    catalog = changed(toy, "datasets", SIMULATED, render=None, read=read)
    assert "sort the files" in failed(catalog, "reproducible")["reproducible"]


def test_a_reader_that_fails_is_not_absent(toy):
    def read(options):
        yield {}["root"]

    message = failed(changed(toy, "datasets", SIMULATED, render=None, read=read), "images")["images"]
    assert "KeyError" in message and f"{__file__}:" in message and "UserError" in message


def test_a_reader_that_fills_one_array_again_and_again(toy):
    def read(options):
        image = np.empty((1, 12, 16), np.uint8)
        for tone in range(5):
            image[:] = tone
            yield Sample(image, {"centre": np.zeros((1, 2))})

    catalog = changed(toy, "datasets", SIMULATED, render=None, read=read)
    assert "equal images" in failed(catalog, "images")["images"]


def test_a_reader_that_gives_fewer_samples_the_second_time(toy):
    left = [3, 2]

    def read(options):
        for tone in range(left.pop(0)):
            yield Sample(np.full((1, 12, 16), tone, np.uint8), {"centre": np.zeros((1, 2))})

    catalog = changed(toy, "datasets", SIMULATED, render=None, read=read)
    assert "read again" in failed(catalog, "reproducible")["reproducible"]


def bad_file_after_a_sample():
    yield Sample(GOOD, {"centre": np.zeros((1, 2))})
    raise UserError("b.png: is no picture; remove it")


@pytest.mark.parametrize(
    ("items", "word"),
    [
        (bad_file_after_a_sample, "b.png"),
        (lambda: iter([Skipped("a.png", "KeyError: 'radius'")] * 3), "a.png: KeyError"),
        (lambda: iter([(GOOD, {})]), "tuple"),
    ],
)
def test_a_reader_that_loses_files_is_not_absent(toy, items, word):
    catalog = changed(toy, "datasets", SIMULATED, render=None, read=lambda options: items())
    found = failed(catalog, "images", "game")
    assert found.keys() == {"images", "game"} and "'discs' (simulated)" in found["images"] and word in found["images"]


def test_a_data_set_without_samples_is_absent(toy):
    catalog = changed(toy, "datasets", SIMULATED, render=None, read=lambda options: iter(()))
    outcome = run_rule(Domain.of(catalog, PLUGIN), "images")
    assert outcome.status == "ok" and "discs was not tried" in outcome.message


class Rooted(Options):
    root: str = Field(description="A folder.")


def test_a_data_set_whose_options_no_recipe_gives_is_not_tried(toy):
    origin = toy.recipes["toy"].origin
    files = {"name": "files", "options": Rooted, "render": None, "read": lambda options: iter(())}
    spec = replace(toy.datasets[SIMULATED].spec, **files)
    catalog = replace(toy, datasets={**toy.datasets, ("files", "simulated"): Entry(spec, origin)})
    outcome = run_rule(Domain.of(catalog, PLUGIN), "images")
    assert outcome.status == "ok" and "files was not tried" in outcome.message and "root" in outcome.message
