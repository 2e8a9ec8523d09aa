"""Quality monitoring during training: measurements, selection of weights, early stopping and warnings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from quick import configured, fit_toy, weights

from synthreal.config import LossConfig, QualityConfig
from synthreal.errors import UserError
from synthreal.metrics.displacement import LARGEST_PX
from synthreal.metrics.distances import realism
from synthreal.train import fit as module
from synthreal.train.monitor import QualityMonitor, open_monitor, score


def synthetic_images(level, noise, count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shade = level + 0.1 * torch.rand(count, 1, 1, 1, generator=generator)
    return (shade + noise * torch.randn(count, 1, 16, 20, generator=generator)).clamp(0, 1)


def corner(images):
    """A detector: the brightest pixel."""
    place = images.flatten(1).argmax(1)
    return torch.stack([place % 20, place // 20], -1).float()[:, None]


def monitor(**config):
    return QualityMonitor(
        QualityConfig(**config), synthetic_images(0.3, 0.01), synthetic_images(0.6, 0.05, seed=1), corner
    )


def logged_quality(run):
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["quality"] for line in lines if "quality" in line}


def test_a_report_has_all_measurements_and_the_score():
    current, refined = monitor(), synthetic_images(0.5, 0.04, seed=2)
    report = current.measure(5, refined)
    expected = realism(refined, current.real, seed=0)
    assert {name: getattr(report, name) for name in expected} == expected
    assert report.change == pytest.approx(float((refined - current.simulated).abs().mean()))
    moved = torch.linalg.vector_norm(corner(refined) - corner(current.simulated), dim=-1).mean()
    assert report.shift_px == pytest.approx(float(moved))
    drift = report.shift_px / (0.015 * math.hypot(16, 20))
    assert report.score == pytest.approx(score(expected, realism(current.simulated, current.real, seed=0), drift))


def test_the_score_is_the_remaining_share_of_the_distance_plus_drift():
    base = {"a": 2.0, "b": 4.0}
    assert score(base, base, 0.0) == 1.0
    assert score({"a": 1.0, "b": 1.0}, base, 0.25) == pytest.approx((0.5 + 0.25) / 2 + 0.25)
    assert score({"a": -1.0, "b": 0.0}, base, 0.0) == 0.0


def test_a_distance_of_zero_between_simulated_and_real_images_is_left_out_of_the_score():
    """The unbiased KID of similar images is below 0 as often as above."""
    base = {"kid": -6e-5, "spectrum": 4.0}
    assert score({"kid": 1e-3, "spectrum": 2.0}, base, 0.25) == pytest.approx(0.5 + 0.25)
    assert score({"kid": 1e-3}, {"kid": 0.0}, 0.25) == 0.25


def test_smaller_distances_improve_the_score_and_drift_worsens_it():
    current = monitor()
    near, far = (current.measure(i, synthetic_images(level, 0.05, seed=3)) for i, level in enumerate((0.6, 0.45)))
    assert near.kid < far.kid and score(distances(near), current.baseline, 0.0) < score(
        distances(far), current.baseline, 0.0
    )
    unmoved, moved = (score(distances(near), current.baseline, drift) for drift in (0.0, 0.5))
    assert moved == pytest.approx(unmoved + 0.5)


def distances(report):
    return {name: getattr(report, name) for name in ("kid", "sliced_wasserstein", "spectrum")}


def test_without_a_detector_there_is_no_shift():
    current = QualityMonitor(QualityConfig(), synthetic_images(0.3, 0.01), synthetic_images(0.6, 0.05, seed=1), None)
    assert current.measure(1, synthetic_images(0.5, 0.04)).shift_px is None


def test_patience_counts_reports_without_improvement():
    current = monitor(patience=2)
    for step, level, best, done in ((1, 0.4, 1, False), (2, 0.6, 2, False), (3, 0.3, 2, False), (4, 0.3, 2, True)):
        current.locate = None
        current.measure(step, synthetic_images(level, 0.05, seed=3))
        assert (current.best_step, current.exhausted) == (best, done)
    other = monitor(patience=2)
    other.load_state_dict(current.state_dict())
    assert other.exhausted and other.best_step == 2 and not monitor().exhausted


def test_collapse_and_drifting_labels_give_warnings():
    current = monitor()
    alike = current.measure(1, synthetic_images(0.5, 0.05)[:1].expand(60, -1, -1, -1))
    assert [warning.partition(":")[0] for warning in current.warnings(alike, LossConfig())] == [
        "collapse",
        "drifting labels",
    ]
    for weight, remedy in ((8.0, "; raise loss.weight"), ("auto", "; lower loss.drift_px")):
        assert all(remedy in warning for warning in current.warnings(alike, LossConfig(weight=weight)))
    same = current.measure(2, current.simulated)
    assert current.warnings(same, LossConfig()) == [] and same.shift_px == 0 and same.diversity == pytest.approx(1)


def test_a_missing_detector_is_reported_once_in_a_run(toy, tmp_path, monkeypatch):
    warnings = []
    fit_toy(toy, tmp_path / "with", on_report=lambda report: warnings.extend(report.warnings))
    evaluators = {name: replace(known, spec=replace(known.spec, locate=None)) for name, known in toy.evaluators.items()}
    blind = replace(toy, evaluators=evaluators)
    for folder, setting in (
        ("without", "quality.every=1"),
        ("alone", "evaluation.evaluator=none"),  # there is nothing that could have a detector
        ("off", "quality=none"),
    ):
        fit_toy(blind, tmp_path / folder, setting, on_report=lambda report: warnings.extend(report.warnings))
    assert ["locate" in warning for warning in warnings if warning.startswith("no detector")] == [True, False]


def test_fit_saves_the_weights_with_the_best_score(toy, tmp_path, monkeypatch):
    """The third of six reports is made the best one; a run that ends there has the same weights."""
    measure, seen = QualityMonitor.measure, []

    def third_is_best(self, step, refined):
        report = measure(self, step, refined)
        self.best_step, self.since_best = (
            (step, 0) if len(seen) == 2 else (seen[2] if len(seen) > 2 else 0, self.since_best)
        )
        seen.append(step)
        return report

    monkeypatch.setattr(QualityMonitor, "measure", third_is_best)
    fit_toy(toy, tmp_path / "best", "quality.every=1")
    assert seen == [6, 7, 8, 9, 10, 11]
    monkeypatch.undo()
    fit_toy(toy, tmp_path / "short", "schedule.steps=3", "quality=none")
    fit_toy(toy, tmp_path / "long", "quality=none")
    assert weights(tmp_path / "best") == weights(tmp_path / "short") != weights(tmp_path / "long")


def test_quality_json_has_the_best_step_and_the_distances_of_simulated_images(toy_run):
    written = json.loads((toy_run / "quality.json").read_text())
    assert set(written) == {"simulated", "rule", "best"} and "label shift" in written["rule"]
    assert set(written["simulated"]) == {"kid", "sliced_wasserstein", "spectrum"}
    assert written["best"] == {"step": 11, "score": logged_quality(toy_run)[11]["score"]}


def test_monitoring_does_not_affect_training(toy, tmp_path, toy_run):
    fit_toy(toy, tmp_path / "run", "quality={every=1, keep='last'}")
    assert weights(tmp_path / "run") == weights(toy_run)
    assert list(logged_quality(tmp_path / "run")) == [6, 7, 8, 9, 10, 11] and list(logged_quality(toy_run)) == [11]


def test_a_resumed_run_has_the_same_best_step(toy, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_toy(toy, whole, "quality.every=1", "schedule.save_every=1")
    for report in module.steps(configured(toy, "quality.every=1", "schedule.save_every=1"), toy, parts):
        if report.step == 9:
            break
    fit_toy(toy, parts, "quality.every=1", "schedule.save_every=1", resume=True)
    assert weights(parts) == weights(whole) and logged_quality(parts) == logged_quality(whole)


def test_a_best_step_before_the_interruption_is_preserved(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)  # the first report stays the best
    settings, parts = ("quality.every=1", "schedule.save_every=1"), tmp_path / "parts"
    for report in module.steps(configured(toy, *settings), toy, parts):
        if report.step == 9:
            break
    before = weights(parts)
    fit_toy(toy, parts, *settings, resume=True)
    assert weights(parts) == before
    assert json.loads((parts / "quality.json").read_text())["best"]["step"] == 6


def test_a_run_that_ended_early_is_complete(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)  # the first report stays the best
    last = fit_toy(toy, tmp_path / "run", "quality={every=1, patience=2}")
    assert last.step == 8 and [path.stem for path in (tmp_path / "run/sheets").iterdir()] == ["step-00000008"]
    assert fit_toy(toy, tmp_path / "run", "quality={every=1, patience=2}", resume=True) is None


def test_a_run_that_ended_early_can_be_continued_without_patience(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "refine_preview", lambda game, images: images)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fit_toy(toy, whole, "quality={every=1, keep='last'}")
    assert fit_toy(toy, parts, "quality={every=1, keep='last', patience=2}").step == 8
    assert fit_toy(toy, parts, "quality={every=1, keep='last'}", resume=True).step == 11
    assert weights(parts) == weights(whole)


def test_images_too_small_for_monitoring_are_refused(toy, tmp_path):
    config = configured(toy).model_copy(update={"image": None})
    small = {"image": {"channels": 1, "height": 7, "width": 16}}
    with pytest.raises(UserError):
        open_monitor(config.changed(small), toy, None, None)


def test_without_a_detector_the_content_is_measured():
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand((60, 1, 12, 12), generator=generator).repeat_interleave(6, 2).repeat_interleave(6, 3)
    x, moved = blocks[..., 3:51, 3:51], blocks[..., 3:51, 1:49]
    blind = QualityMonitor(QualityConfig(), x, x.flip(0), None)
    assert blind.limitations(plugin=True) == []
    still, shifted = blind.measure(1, x), blind.measure(2, moved)
    assert still.shift_px == pytest.approx(0, abs=0.01)
    assert shifted.shift_px == pytest.approx(2, abs=0.2)
    assert shifted.score > still.score + 1
    assert "the content by 2.0 px" in blind.warnings(shifted, LossConfig())[0]
    erased = blind.measure(3, torch.full_like(x, 0.5))
    assert erased.shift_px == LARGEST_PX > shifted.shift_px and erased.score > still.score + 4
    assert any("drifting labels" in warning for warning in blind.warnings(erased, LossConfig()))
    plain = QualityMonitor(QualityConfig(), torch.full_like(x, 0.5) + 1e-3 * x.mean((2, 3), keepdim=True), x, None)
    (line,), (own,) = plain.limitations(plugin=False), plain.limitations(plugin=True)
    assert "sheets" in line and "locate" not in line
    assert own.startswith(line) and "locate" in own
