"""Whole domains keep the rules, and a domain that breaks one is told which, and what to change."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import torch
from broken import PLUGIN, REAL, SIMULATED, TEST, changed
from quick import TOY
from toy import camera, locate, simulator, synthreal_evaluators

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.spec import Batch
from synthreal.testing import DomainError, check_domain
from synthreal.testing.check import RULES

POINTER = synthreal_evaluators()[0]


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
def test_first_party_domains_keep_every_rule(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without data sets in data/
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
    "a download": ("datasets", SIMULATED, {"render": downloads}, {"connections"}, "example.org:443"),
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
