"""The rules of data sets, each broken alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from broken import PLUGIN, SIMULATED, changed, failed
from pydantic import Field
from toy import simulator

from synthreal.errors import UserError
from synthreal.hooks.catalog import Entry
from synthreal.spec import Batch, Options, Sample, Skipped
from synthreal.testing.check import run_rule
from synthreal.testing.domain import Domain


def relabelled(values):
    def render(options, n, generator):
        batch = simulator(options, n, generator)
        return Batch(batch.image, values(batch.labels))

    return render


def constant_images(options, n, generator):
    return Batch(torch.full((n, 1, 12, 16), 0.5), {"centre": torch.zeros(n, 1, 2)})


def seedless(options, n, generator):
    return simulator(options, n, torch.Generator().manual_seed(0))


def no_device(options, n, generator):
    batch = simulator(options, n, generator)
    return Batch(batch.image * torch.linspace(0.5, 1, 16), batch.labels)


def draws_from_torch(options, n, generator):
    torch.rand(1)
    return simulator(options, n, generator)


def image_of(change):
    return lambda options, n, generator: Batch(change(simulator(options, n, generator).image))


@pytest.mark.parametrize(
    ("render", "rule", "word"),
    [
        (lambda options, n, generator: torch.zeros(n, 1, 12, 16), "images", "Batch"),
        (image_of(lambda image: image[:, 0]), "images", "(8, 1, 12, 16)"),
        (image_of(lambda image: image.double()), "images", "float32"),
        (image_of(lambda image: image / 0), "images", "[0, 1]"),
        (constant_images, "images", "equal"),
        (relabelled(lambda labels: {}), "labels", "'centre'"),
        (relabelled(lambda labels: {"centre": labels["centre"][:, 0]}), "labels", "(8, 2)"),
        (relabelled(lambda labels: {"centre": labels["centre"] / 0}), "labels", "NaN"),
        (relabelled(lambda labels: {"centre": labels["centre"].tolist()}), "labels", "list"),
        (seedless, "reproducible", "seeds"),
        (draws_from_torch, "reproducible", "global generator"),
        (image_of(lambda image: torch.cat([image, image])), "batched", "n=1"),
        (no_device, "devices", "device=generator.device"),
        (lambda options, n, generator: 1 / 0, "images", f"{__file__}:"),
    ],
)
def test_simulators(toy, render, rule, word):
    message = failed(changed(toy, "datasets", SIMULATED, render=render), rule)[rule]
    assert "'discs' (simulated)" in message and word in message


def test_what_a_simulator_caches_stays_usable(toy):
    tables = {}

    def render(options, n, generator):
        batch = simulator(options, n, generator)
        return Batch(batch.image * tables.setdefault("shade", torch.linspace(0.5, 1, 16)), batch.labels)

    domain = Domain.of(changed(toy, "datasets", SIMULATED, render=render), PLUGIN)
    assert run_rule(domain, "devices").status == "ok"  # a cached tensor is not seen
    assert tables["shade"].device.type == "cpu" and run_rule(domain, "images").status == "ok"


def darkened_one_by_one(options, n, generator):
    batch = simulator(options, n, generator)
    for i in range(n):
        batch.image[i] *= 0.9  # an operator, which is no call
    return batch


def mean_of_each(options, n, generator):
    batch = simulator(options, n, generator)
    return Batch(
        batch.image * torch.stack([1 - 0 * image.mean() for image in batch.image]).view(-1, 1, 1, 1), batch.labels
    )


def by_rejection(options, n, generator):
    """Draws again, all images at once, until each is bright enough: more often for more images."""
    batch = simulator(options, n, generator)
    for _ in range(2 + n // 5):
        other = simulator(options, n, generator)
        keep = (batch.labels["centre"][:, 0, 0] > 6).view(-1, 1, 1, 1)
        image, labels = torch.where(keep, batch.image, other.image), other.labels["centre"]
        batch = Batch(image, {"centre": torch.where(keep[:, 0], batch.labels["centre"], labels)})
    return batch


@pytest.mark.parametrize("render", [darkened_one_by_one, mean_of_each])
def test_a_loop_over_images_is_found_where_it_is(toy, render):
    message = failed(changed(toy, "datasets", SIMULATED, render=render), "batched")["batched"]
    assert f"{__file__}:" in message


def test_a_few_more_passes_over_all_images_are_no_loop_over_them(toy):
    assert failed(changed(toy, "datasets", SIMULATED, render=by_rejection), "batched") == {}


def reader(*samples):
    return {"render": None, "read": lambda options: iter(samples)}


GOOD = np.arange(192, dtype=np.uint8).reshape(1, 12, 16)


@pytest.mark.parametrize(
    ("sample", "rule", "word"),
    [
        (Sample(GOOD.astype(np.float32) / 255), "images", "float32"),
        (Sample(GOOD[:, :8]), "images", "(1, 8, 16)"),
        (Sample(GOOD), "labels", "no label"),
        (Sample(GOOD, {"centre": np.zeros(2)}), "labels", "(1, 2)"),
        (Sample(GOOD, {"centre": np.full((1, 2), np.nan)}), "labels", "NaN"),
    ],
)
def test_readers(toy, sample, rule, word):
    message = failed(changed(toy, "datasets", SIMULATED, **reader(sample)), rule)[rule]
    assert "'discs' (simulated)" in message and word in message
    good = Sample(GOOD, {"centre": np.zeros((1, 2))})
    assert failed(changed(toy, "datasets", SIMULATED, **reader(good)), rule) == {}


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


def test_values_that_are_nan_are_not_called_random(toy):
    nan = relabelled(lambda labels: {"centre": labels["centre"] * torch.nan})
    catalog = changed(toy, "datasets", SIMULATED, render=nan)
    assert failed(catalog, "labels", "reproducible").keys() == {"labels"}


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
