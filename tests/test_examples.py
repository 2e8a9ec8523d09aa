"""The example programs do what their first lines say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DOMAIN = EXAMPLES / "02_new_domain.py"


def test_a_new_domain_is_one_file_that_fits_is_judged_and_refines(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(DOMAIN.read_text(encoding="utf-8").splitlines()) <= 150
    short = ["--set", "schedule={refiner_steps=2, discriminator_steps=2, steps=4, batch=8}"]
    few = [
        word for role in ("simulated", "real", "real_labelled", "test") for word in ("--set", f"data.{role}.count=40")
    ]
    budget = ["--set", "evaluation.images=40", "--set", "evaluation.epochs=1"]
    cli("fit", "--plugin", DOMAIN, *short, *few, *budget).ok()
    cli("evaluate", "runs/dials").ok()
    arms = json.loads((tmp_path / "runs/dials/evaluation.json").read_text())["arms"]
    assert all(0 < summary["error_deg"]["mean"] < 180 for summary in arms.values())
    cli("prepare", "drawn", "dials.h5", "--plugin", DOMAIN, "--limit", 20).ok()
    cli("refine", "runs/dials", "dials.h5", "refined.h5").ok()


@pytest.mark.slow
def test_refining_the_new_domain_is_worth_it(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli("fit", "--plugin", DOMAIN).ok()
    cli("evaluate", "runs/dials").ok()
    arms = json.loads((tmp_path / "runs/dials/evaluation.json").read_text())["arms"]
    assert arms["refined"]["error_deg"]["mean"] < 0.8 * arms["simulated"]["error_deg"]["mean"]
