"""The rules of simulators, each broken alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from broken import PLUGIN, SIMULATED, changed, failed
from toy import simulator

from synthreal.spec import Batch
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


def from_numpy(options, n, generator):
    batch = simulator(options, n, generator)
    return Batch(batch.image * torch.from_numpy(np.linspace(0.5, 1, 16, dtype=np.float32)), batch.labels)


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


def test_labels_that_are_no_tensors_are_named_in_every_rule(toy):
    lists = relabelled(lambda labels: {"centre": labels["centre"].tolist()})
    found = failed(changed(toy, "datasets", SIMULATED, render=lists))
    assert {"images", "labels", "reproducible", "batched", "devices", "game"} <= found.keys()
    assert all("'centre'" in message and "return" in message for message in found.values())


def test_what_a_simulator_caches_stays_usable(toy, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # on a GPU it is seen
    tables = {}

    def render(options, n, generator):
        batch = simulator(options, n, generator)
        return Batch(batch.image * tables.setdefault("shade", torch.linspace(0.5, 1, 16)), batch.labels)

    domain = Domain.of(changed(toy, "datasets", SIMULATED, render=render), PLUGIN)
    assert run_rule(domain, "devices").status == "ok"  # a cached tensor is not seen
    assert tables["shade"].device.type == "cpu" and run_rule(domain, "images").status == "ok"


def test_a_render_that_fails_on_a_gpu_is_told_the_remedy(toy, monkeypatch):
    """Where there is no GPU, a generator on it is what fails."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    message = failed(changed(toy, "datasets", SIMULATED, render=from_numpy), "devices")["devices"]
    assert "fails: RuntimeError" in message and message.count("device=generator.device") == 1


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


def in_strokes(options, n, generator):
    """Draws one stroke of all images at once; of more images, one has more strokes."""
    batch = simulator(options, n, generator)
    count = 5 + 50 * (torch.arange(n, device=generator.device) % 4 == 3)
    image = batch.image
    for stroke in range(int(count.max())):
        image = image * torch.where(stroke < count, 0.99, 1.0).view(-1, 1, 1, 1)
    return Batch(image, batch.labels)


@pytest.mark.parametrize("render", [darkened_one_by_one, mean_of_each])
def test_a_loop_over_images_is_found_where_it_is(toy, render):
    message = failed(changed(toy, "datasets", SIMULATED, render=render), "batched")["batched"]
    assert f"{__file__}:" in message


@pytest.mark.parametrize("render", [by_rejection, in_strokes])
def test_a_few_more_passes_over_all_images_are_no_loop_over_them(toy, render):
    assert failed(changed(toy, "datasets", SIMULATED, render=render), "batched") == {}


def test_values_that_are_nan_are_not_called_random(toy):
    nan = relabelled(lambda labels: {"centre": labels["centre"] * torch.nan})
    catalog = changed(toy, "datasets", SIMULATED, render=nan)
    assert failed(catalog, "labels", "reproducible").keys() == {"labels"}
