"""The rules of a whole run, where images are files."""

from __future__ import annotations

import numpy as np
from broken import PLUGIN, REAL, SIMULATED, changed, failed

from synthreal.errors import UserError
from synthreal.spec import Sample
from synthreal.testing.check import run_rule, run_rules
from synthreal.testing.domain import Domain


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


def test_a_game_reads_few_samples(toy):
    taken = []

    def read(options):
        for index in range(10_000):
            taken.append(index)
            yield Sample(np.full((1, 12, 16), index % 251, np.uint8))

    assert failed(changed(toy, "datasets", REAL, render=None, read=read), "game") == {}
    assert max(taken) < 100
