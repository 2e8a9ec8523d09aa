"""Whole domains keep the rules, and a domain that breaks one is told which, and what to change."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import Field
from quick import TOY
from torch import nn
from toy import CENTRE, IMAGE, camera, locate, simulator, synthreal_evaluators

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, Entry
from synthreal.spec import Batch, FeatureSpec, LabelSpec, NetworkSpec, Options, Sample
from synthreal.testing import DomainError, check_domain
from synthreal.testing.check import RULES, run_rule, run_rules
from synthreal.testing.domain import Domain

PLUGIN = str(TOY)
SIMULATED, REAL, TEST = ("discs", "simulated"), ("photographs", "real"), ("photographs", "test")
POINTER = synthreal_evaluators()[0]


def changed(toy: Catalog, table: str, key, **change) -> Catalog:
    """The toy domain in which one spec has other fields."""
    entries = dict(getattr(toy, table))
    entries[key] = Entry(replace(entries[key].spec, **change), entries[key].origin)
    return replace(toy, **{table: entries})


def with_network(toy: Catalog, part: str, module: type[nn.Module]) -> Catalog:
    """The toy domain with one more network."""
    spec = NetworkSpec(name="mine", part=part, build=lambda options, image: module())
    return replace(toy, networks={**toy.networks, (part, "mine"): Entry(spec, toy.recipes["toy"].origin)})


def failed(catalog: Catalog, *rules: str) -> dict[str, str]:
    """The messages of broken rules, of all or of some."""
    domain = Domain.of(catalog, PLUGIN)
    outcomes = [run_rule(domain, rule) for rule in rules] if rules else run_rules(domain)
    found = {outcome.rule: outcome.message for outcome in outcomes if outcome.status == "failed"}
    assert all("\n" not in message and ";" in message for message in found.values()), found
    return found


def test_the_toy_domain_keeps_every_rule(toy):
    outcomes = check_domain(toy, PLUGIN)
    assert [outcome.rule for outcome in outcomes] == list(RULES)
    assert {outcome.status for outcome in outcomes} == {"ok"}


@pytest.mark.parametrize(
    "plugin",
    [
        "gaze",
        "signs",
        str(TOY.parent.parent / "examples/02_new_domain.py"),
        pytest.param("hands", marks=pytest.mark.slow),
    ],
)
def test_first_party_domains_keep_every_rule(plugin):
    outcomes = {outcome.rule: outcome for outcome in check_domain(Catalog.of([plugin]), plugin)}
    skipped = {rule for rule, outcome in outcomes.items() if outcome.status == "skipped"}
    assert skipped == ({"detector"} if plugin.endswith(".py") else set())
    for plugin_, files in (("gaze", "mpiigaze"), ("hands", "nyu"), ("signs", "gtsrb")):
        if plugin == plugin_:
            assert f"{files} was not tried" in outcomes["images"].message


def test_an_unknown_plugin_is_bad_input(toy):
    with pytest.raises(UserError, match="'faces' is not in this catalog"):
        check_domain(toy, "faces")


# Six whole domains, each with one mistake that authors make: the rules that it breaks, and words of the message.


def in_255(options, n, generator):
    batch = camera(options, n, generator)
    return Batch(batch.image * 255, batch.labels)


def from_global_generator(options, n, generator):
    batch = simulator(options, n, generator)
    return Batch(batch.image - 0.05 * torch.rand(n, 1, 1, 1, device=generator.device), batch.labels)


def in_a_loop(options, n, generator):
    one = [simulator(options, 1, generator) for _ in range(n)]
    return Batch(torch.cat([b.image for b in one]), {"centre": torch.cat([b.labels["centre"] for b in one])})


def downloads(options, n, generator):
    with suppress(OSError):  # falls back to drawing
        socket.create_connection(("example.org", 443))
    return simulator(options, n, generator)


def accuracy(pred, labels):
    return {"error_px": 100 - 10 * POINTER.metrics(pred, labels)["error_px"].clamp(max=10)}


BROKEN = {
    "values up to 255": ("datasets", REAL, {"render": in_255}, {"images", "game"}, "[0, 1]"),
    "a global generator": ("datasets", SIMULATED, {"render": from_global_generator}, {"reproducible"}, "generator="),
    "a loop": ("datasets", TEST, {"render": in_a_loop}, {"batched"}, "at once"),
    "a download": ("datasets", SIMULATED, {"render": downloads}, {"network"}, "example.org:443"),
    "a score": ("evaluators", "pointer", {"metrics": accuracy}, {"metrics", "overfits"}, "lower is better"),
    "y before x": ("evaluators", "pointer", {"locate": lambda x: locate(x).flip(-1)}, {"detector"}, "x before y"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_domain_fails_for_the_right_reason(toy, mistake):
    table, key, change, rules, words = BROKEN[mistake]
    catalog = changed(toy, table, key, **change)
    with pytest.raises(DomainError) as error:
        check_domain(catalog, PLUGIN)
    first, *lines = str(error.value).splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert found.keys() == rules
    assert PLUGIN in first and words in str(error.value)


# Every other branch of the rules, tried alone.


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


def test_files_that_are_absent_are_named_and_not_tried(toy):
    def read(options):
        raise UserError("data/discs: no such folder")

    catalog = changed(toy, "datasets", SIMULATED, render=None, read=read)
    outcomes = {outcome.rule: outcome for outcome in run_rules(Domain.of(catalog, PLUGIN))}
    assert "data/discs: no such folder" in outcomes["images"].message and outcomes["images"].status == "ok"
    assert outcomes["game"].status == "skipped" and "data/discs" in outcomes["game"].message
    assert outcomes["overfits"].status == "ok"  # with labelled images of another role
    catalog = changed(toy, "datasets", REAL, render=None, read=read)
    outcome = run_rule(Domain.of(catalog, PLUGIN), "game")
    assert outcome.status == "ok" and "in place of real" in outcome.message


def test_a_reader_that_fails_is_not_absent(toy):
    def read(options):
        yield {}["root"]

    message = failed(changed(toy, "datasets", SIMULATED, render=None, read=read), "images")["images"]
    assert "KeyError" in message and f"{__file__}:" in message and "UserError" in message


def test_a_game_reads_few_samples(toy):
    taken = []

    def read(options):
        for index in range(10_000):
            taken.append(index)
            yield Sample(np.full((1, 12, 16), index % 251, np.uint8))

    assert failed(changed(toy, "datasets", REAL, render=None, read=read), "game") == {}
    assert max(taken) < 100


class Halved(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 3, stride=2, padding=1)


class Bright(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 1)

    def forward(self, image):
        return super().forward(image) + 7


class Fixed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 192), nn.Sigmoid(), nn.Unflatten(1, (1, 12, 16)))


class Normalised(nn.Module):
    receptive_field = 3

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return torch.sigmoid(self.conv(image - image.mean((2, 3), keepdim=True)))


class Pooled(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Conv2d(1, 1, 1))


class Single(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 1), nn.Unflatten(1, (1, 1, 1)))


@pytest.mark.parametrize(
    ("part", "module", "rule", "word"),
    [
        ("refiner", Halved, "refiner-sizes", "no strides"),
        ("refiner", Bright, "refiner-sizes", "tanh"),
        ("refiner", Fixed, "refiner-sizes", "15x21"),
        ("refiner", Normalised, "convolutional", "receptive_field = 3"),
        ("discriminator", Fixed, "convolutional", "another size"),
        ("discriminator", Pooled, "convolutional", "no larger"),
    ],
)
def test_networks(toy, part, module, rule, word):
    message = failed(with_network(toy, part, module), rule)[rule]
    assert f"{part} 'mine'" in message and word in message


def test_a_discriminator_with_one_logit_claims_nothing(toy):
    outcome = run_rule(Domain.of(with_network(toy, "discriminator", Single), PLUGIN), "convolutional")
    assert outcome.status == "ok" and "mine" in outcome.message


def test_psi_of_one_size(toy):
    spec = FeatureSpec(name="fixed", build=lambda options, image: Fixed())
    catalog = replace(toy, features={**toy.features, "fixed": Entry(spec, toy.recipes["toy"].origin)})
    assert "psi 'fixed'" in failed(catalog, "convolutional")["convolutional"]


def relative(pred, labels):
    return {"error_px": (pred - labels["centre"]).norm(dim=-1)[:, 0] / pred[:, 0, 0]}


@pytest.mark.parametrize(
    ("change", "rule", "word"),
    [
        ({"loss": lambda pred, labels: pred.square().mean()}, "overfits", "by heart"),
        ({"metrics": lambda pred, labels: {"error_px": 0 * pred[:, 0, 0]}}, "metrics", "constant answer"),
        ({"metrics": relative}, "metrics", "NaN"),
        ({"build": lambda options, image: nn.Sequential(nn.Flatten(), nn.Linear(192, 3))}, "metrics", "answer"),
        ({"locate": lambda image: torch.zeros(len(image), 1, 2)}, "detector", "move right by 2"),
        ({"locate": lambda image: locate(image)[:, 0]}, "detector", "(B, K, 2)"),
        ({"locate": lambda image: locate(image) / 0}, "detector", "NaN"),
        ({"locate": lambda image: locate(image) + 30}, "detector", "'centre'"),
        ({"locate": lambda image: locate(image).repeat(1, 2, 1)}, "detector", "(64, 2, 2)"),
    ],
)
def test_evaluators(toy, change, rule, word):
    message = failed(changed(toy, "evaluators", "pointer", **change), rule)[rule]
    assert "evaluator 'pointer'" in message and word in message


def test_a_domain_without_a_detector_skips_its_rule(toy):
    catalog = changed(toy, "evaluators", "pointer", locate=None, landmarks=None)
    assert run_rule(Domain.of(catalog, PLUGIN), "detector").status == "skipped"


class Undescribed(Options):
    radius: float = 2.5


@pytest.mark.parametrize(
    ("table", "key", "change", "word"),
    [
        ("datasets", SIMULATED, {"name": "my discs"}, "'my discs'"),
        ("datasets", SIMULATED, {"options": Undescribed}, "radius"),
        (
            "datasets",
            SIMULATED,
            {"image": replace(IMAGE, meaning="")},
            "meaning",
        ),
        ("datasets", SIMULATED, {"image": replace(IMAGE, channels=3, colormap="viridis")}, "colormap"),
        ("datasets", SIMULATED, {"labels": (replace(CENTRE, unit=""),)}, "unit"),
        ("datasets", SIMULATED, {"labels": (CENTRE, CENTRE)}, "a name of its own"),
        ("datasets", SIMULATED, {"labels": (CENTRE, LabelSpec("tone", (0,), "grey"))}, "(0,)"),
        ("evaluators", "pointer", {"requires": (replace(CENTRE, unit="m"),)}, "shape and unit"),
        ("evaluators", "pointer", {"curve": ("error_px", (2.0, 1.0))}, "sort"),
        ("evaluators", "pointer", {"locate": None}, "detector"),
        ("evaluators", "pointer", {"landmarks": "middle"}, "'middle'"),
    ],
)
def test_specs(toy, table, key, change, word):
    assert word in failed(changed(toy, table, key, **change), "specs")["specs"]


def test_recipes(toy):
    assert "no recipe" in failed(replace(toy, recipes={}), "recipes")["recipes"]
    broken = toy.recipes["toy"].spec.changed({"refiner": {"name": "resnett"}})
    catalog = replace(toy, recipes={"toy": Entry(broken, toy.recipes["toy"].origin)})
    assert "recipe 'toy'" in (message := failed(catalog, "recipes")["recipes"]) and "'resnett'" in message
    assert run_rule(Domain.of(catalog, PLUGIN), "game").status == "skipped"


def test_a_plugin_that_registers_nothing(toy):
    empty = replace(toy, **{table: {} for table in ("datasets", "networks", "features", "evaluators", "recipes")})
    found = {outcome.rule: outcome.status for outcome in run_rules(Domain.of(empty, PLUGIN))}
    assert {rule for rule, status in found.items() if status == "failed"} == {"specs", "recipes"}
    assert "ok" not in {found[rule] for rule in ("images", "labels", "overfits", "game")}


class Rooted(Options):
    root: str = Field(description="A folder.")


def test_a_data_set_whose_options_no_recipe_gives_is_not_tried(toy):
    origin = toy.recipes["toy"].origin
    files = {"name": "files", "options": Rooted, "render": None, "read": lambda options: iter(())}
    spec = replace(toy.datasets[SIMULATED].spec, **files)
    catalog = replace(toy, datasets={**toy.datasets, ("files", "simulated"): Entry(spec, origin)})
    outcome = run_rule(Domain.of(catalog, PLUGIN), "images")
    assert outcome.status == "ok" and "files was not tried" in outcome.message and "root" in outcome.message
