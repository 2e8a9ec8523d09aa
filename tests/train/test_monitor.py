"""Looks at quality while fitting: what they measure, which weights they keep, when they stop, what they warn of."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from quick import configured, fit_toy, weights

from synthreal.config import QualityConfig
from synthreal.errors import UserError
from synthreal.metrics.distances import realism
from synthreal.train import fit as module
from synthreal.train.monitor import QualityMonitor, open_monitor, score


def pictures(level, noise, count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shade = level + 0.1 * torch.rand(count, 1, 1, 1, generator=generator)
    return (shade + noise * torch.randn(count, 1, 16, 20, generator=generator)).clamp(0, 1)


def corner(images):
    """A detector: the brightest pixel."""
    place = images.flatten(1).argmax(1)
    return torch.stack([place % 20, place // 20], -1).float()[:, None]


def watch(**config):
    return QualityMonitor(QualityConfig(**config), pictures(0.3, 0.01), pictures(0.6, 0.05, seed=1), corner)


def looks(run):
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["quality"] for line in lines if "quality" in line}


def test_a_look_measures_what_it_says():
    mine, refined = watch(), pictures(0.5, 0.04, seed=2)
    look = mine.measure(5, refined)
    found = realism(refined, mine.real, seed=0)
    assert {name: getattr(look, name) for name in found} == found
    assert look.change == pytest.approx(float((refined - mine.simulated).abs().mean()))
    moved = torch.linalg.vector_norm(corner(refined) - corner(mine.simulated), dim=-1).mean()
    assert look.shift_px == pytest.approx(float(moved))
    drift = look.shift_px / (0.015 * math.hypot(16, 20))
    assert look.score == pytest.approx(score(found, realism(mine.simulated, mine.real, seed=0), drift))


def test_the_score_is_the_share_of_the_distance_that_is_left_and_drift():
    base = {"a": 2.0, "b": 4.0}
    assert score(base, base, 0.0) == 1.0
    assert score({"a": 1.0, "b": 1.0}, base, 0.25) == pytest.approx((0.5 + 0.25) / 2 + 0.25)
    assert score({"a": -1.0, "b": 0.0}, base, 0.0) == 0.0


def test_a_distance_that_simulated_images_do_not_have_does_not_drown_the_others():
    """An unbiased KID of images that look alike is as often below 0 as above."""
    base = {"kid": -6e-5, "spectrum": 4.0}
    assert score({"kid": 1e-3, "spectrum": 2.0}, base, 0.25) == pytest.approx(0.5 + 0.25)
    assert score({"kid": 1e-3}, {"kid": 0.0}, 0.25) == 0.25


def test_closer_to_real_is_better_and_moved_labels_are_worse():
    mine = watch()
    near, far = (mine.measure(i, pictures(level, 0.05, seed=3)) for i, level in enumerate((0.6, 0.45)))
    assert near.kid < far.kid and score(vars_of(near), mine.baseline, 0.0) < score(vars_of(far), mine.baseline, 0.0)
    unmoved, moved = (score(vars_of(near), mine.baseline, drift) for drift in (0.0, 0.5))
    assert moved == pytest.approx(unmoved + 0.5)


def vars_of(look):
    return {name: getattr(look, name) for name in ("kid", "sliced_wasserstein", "spectrum")}


def test_without_a_detector_there_is_no_shift():
    mine = QualityMonitor(QualityConfig(), pictures(0.3, 0.01), pictures(0.6, 0.05, seed=1), None)
    assert mine.measure(1, pictures(0.5, 0.04)).shift_px is None


def test_patience_counts_looks_without_a_better_one():
    mine = watch(patience=2)
    for step, level, best, done in ((1, 0.4, 1, False), (2, 0.6, 2, False), (3, 0.3, 2, False), (4, 0.3, 2, True)):
        mine.locate = mine.found = None
        mine.measure(step, pictures(level, 0.05, seed=3))
        assert (mine.best_step, mine.exhausted) == (best, done)
    other = watch(patience=2)
    other.load_state_dict(mine.state_dict())
    assert other.exhausted and other.best_step == 2 and not watch().exhausted


def test_warnings_name_collapse_and_drifting_labels():
    mine = watch()
    alike = mine.measure(1, pictures(0.5, 0.05)[:1].expand(60, -1, -1, -1))
    assert [said.partition(":")[0] for said in mine.warnings(alike)] == ["collapse", "drifting labels"]
    same = mine.measure(2, mine.simulated)
    assert mine.warnings(same) == [] and same.shift_px == 0 and same.diversity == pytest.approx(1)


def test_without_a_detector_that_is_told_once(toy, tmp_path, monkeypatch):
    told = []
    fit_toy(toy, tmp_path / "with", on_report=lambda report: told.extend(report.warnings))
    evaluators = {name: replace(known, spec=replace(known.spec, locate=None)) for name, known in toy.evaluators.items()}
    blind = replace(toy, evaluators=evaluators)
    for folder, setting in (("without", "quality.every=1"), ("off", "quality=none")):
        fit_toy(blind, tmp_path / folder, setting, on_report=lambda report: told.extend(report.warnings))
    assert [said.partition(";")[0] for said in told if said.startswith("no detector")] == [
        "no detector: moved labels are not measured, and the score that selects weights is realism alone"
    ]


def test_fit_keeps_the_weights_of_the_best_look(toy, tmp_path, monkeypatch):
    """The third of six looks is made the best: its weights are those of a run that ends there."""
    measure, seen = QualityMonitor.measure, []

    def third_is_best(self, step, refined):
        found = measure(self, step, refined)
        self.best_step, self.since_best = (
            (step, 0) if len(seen) == 2 else (seen[2] if len(seen) > 2 else 0, self.since_best)
        )
        seen.append(step)
        return found

    monkeypatch.setattr(QualityMonitor, "measure", third_is_best)
    fit_toy(toy, tmp_path / "best", "quality.every=1")
    assert seen == [6, 7, 8, 9, 10, 11]
    monkeypatch.undo()
    fit_toy(toy, tmp_path / "short", "schedule.steps=3", "quality=none")
    fit_toy(toy, tmp_path / "long", "quality=none")
    assert weights(tmp_path / "best") == weights(tmp_path / "short") != weights(tmp_path / "long")


def test_quality_json_names_the_best_look_and_what_simulated_images_have(toy_run):
    written = json.loads((toy_run / "quality.json").read_text())
    assert set(written) == {"simulated", "rule", "best"} and "distances to real" in written["rule"]
    assert set(written["simulated"]) == {"kid", "sliced_wasserstein", "spectrum"}
    assert written["best"] == {"step": 11, "score": looks(toy_run)[11]["score"]}


def test_looking_changes_nothing_else(toy, tmp_path, toy_run):
    fit_toy(toy, tmp_path / "run", "quality={every=1, keep='last'}")
    assert weights(tmp_path / "run") == weights(toy_run)
    assert list(looks(tmp_path / "run")) == [6, 7, 8, 9, 10, 11] and list(looks(toy_run)) == [11]


def test_a_resumed_run_remembers_its_best_look(toy, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_toy(toy, whole, "quality.every=1", "schedule.save_every=1")
    for report in module.steps(configured(toy, "quality.every=1", "schedule.save_every=1"), toy, parts):
        if report.step == 9:
            break
    fit_toy(toy, parts, "quality.every=1", "schedule.save_every=1", resume=True)
    assert weights(parts) == weights(whole) and looks(parts) == looks(whole)


def test_a_best_look_before_the_interruption_stays_the_best(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)  # no look is better than the first
    settings, parts = ("quality.every=1", "schedule.save_every=1"), tmp_path / "parts"
    for report in module.steps(configured(toy, *settings), toy, parts):
        if report.step == 9:
            break
    kept = weights(parts)
    fit_toy(toy, parts, *settings, resume=True)
    assert weights(parts) == kept
    assert json.loads((parts / "quality.json").read_text())["best"]["step"] == 6


def test_patience_ends_a_fit_that_stays_complete(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)  # no look is better than the first
    last = fit_toy(toy, tmp_path / "run", "quality={every=1, patience=2}")
    assert last.step == 8 and [path.stem for path in (tmp_path / "run/sheets").iterdir()] == ["step-00000008"]
    assert fit_toy(toy, tmp_path / "run", "quality={every=1, patience=2}", resume=True) is None


def test_a_fit_that_stopped_early_goes_on_with_more_patience(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_toy(toy, whole, "quality={every=1, keep='last'}")
    assert fit_toy(toy, parts, "quality={every=1, keep='last', patience=2}").step == 8
    assert fit_toy(toy, parts, "quality={every=1, keep='last'}", resume=True).step == 11
    assert weights(parts) == weights(whole)


def test_images_too_small_to_look_at_are_told(toy, tmp_path):
    config = configured(toy).model_copy(update={"image": None})
    small = {"image": {"channels": 1, "height": 7, "width": 16}}
    with pytest.raises(UserError):
        open_monitor(config.changed(small), toy, None, None)
