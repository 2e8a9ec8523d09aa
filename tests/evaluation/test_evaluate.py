"""The proof: arms, the shape of evaluation.json, seeds, spread, and what may not be compared."""

from __future__ import annotations

import json
import shutil
import statistics
from functools import partial

import numpy as np
import pytest
import torch
from quick import configured, fit_toy
from toy import CENTRE, IMAGE, synthreal_evaluators

from synthreal.data.encoding import to_unit
from synthreal.errors import UserError
from synthreal.evaluation import summary as outcome
from synthreal.evaluation.evaluate import evaluate
from synthreal.evaluation.summary import EstimatorResult
from synthreal.evaluation.training_sets import ARMS as ALL
from synthreal.evaluation.training_sets import TrainingSets
from synthreal.inference.pretrained import read_config
from synthreal.inference.transform import Refine
from synthreal.inference.weights import weights_sha256
from synthreal.metrics.distances import realism
from synthreal.train.sources import first_images, open_data

ARMS = ["simulated", "refined", "histogram", "real"]


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """Two runs of one configuration, fitted with seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        fit_toy(toy, folder / f"seed{seed}", f"runtime.seed={seed}")
    return [folder / "seed0", folder / "seed1"]


@pytest.fixture(scope="module")
def single(runs):
    """One run, one seed."""
    return evaluate(runs[:1])


def test_one_run_and_one_seed(toy, runs, single, tmp_path):
    assert json.loads((runs[0] / "evaluation.json").read_text()) == single
    about = {"runs", "weights", "split", "test", "preservation", "constant", "primary"}
    assert set(single) == about | {"arms", "quality", "warnings"}
    assert single["weights"] == [weights_sha256(Refine.load(runs[0]).refiner)]
    assert single["warnings"] == []
    test = open_data(configured(toy), toy, "test", device=torch.device("cpu"), run_dir=tmp_path)
    assert single["test"] == {"name": "photographs", "n": 15, "sha256": test.sha256()}
    preservation = single["preservation"]
    assert set(preservation) == {"shift_px", "detector_error_px", "control_px", "change", "n"}
    assert set(preservation["shift_px"]) == {"mean", "std"}
    assert preservation["n"] == 30
    assert set(single["constant"]) == {"error_px", "within_1px"}
    assert list(single["arms"]) == ARMS
    for summary in single["arms"].values():
        assert set(summary) == {"error_px", "within_1px", "curve", "against_simulated"}
        for name in ("error_px", "within_1px"):
            metric = summary[name]
            assert set(metric) == {"mean", "std", "seeds"}
            assert metric["std"] is None
            assert metric["seeds"] == [{"refiner_seed": 0, "estimator_seed": 0, "value": metric["mean"]}]
        assert 0 <= summary["within_1px"]["mean"] <= 100
        curve = summary["curve"]
        assert (curve["threshold"], curve["unit"]) == ([0.5, 1.0, 2.0, 4.0], "px")
        assert curve["percent"] == sorted(curve["percent"]) and curve["percent"][-1] <= 100
        assert curve["percent"][1] == pytest.approx(summary["within_1px"]["mean"], rel=1e-5)  # one image is 6.7 %


def test_test_images_that_could_not_be_read_are_told(toy, tmp_path):
    from synthreal.data.pack import PackWriter
    from synthreal.spec import Skipped

    image = torch.randint(0, 255, (9, 1, 12, 16), dtype=torch.uint8).numpy()
    with PackWriter(tmp_path / "test.h5", image=IMAGE, labels=(CENTRE,), role="test", name="mine") as writer:
        writer.append(image, {"centre": np.zeros((9, 1, 2), np.float32)})
        writer.skip(Skipped("a.png", "truncated"))
    fit_toy(toy, tmp_path / "run", f'data.test={{name="pack", options={{path="{tmp_path}/test.h5"}}}}')
    result = evaluate([tmp_path / "run"])
    assert result["warnings"] == ["data.test: 1 unreadable files skipped: a.png: truncated"]


def test_every_training_set_is_appraised_without_labels_of_real_images(toy, runs, single):
    quality = single["quality"]
    assert list(quality) == ARMS
    for arm, found in quality.items():
        distances = {"kid", "kid_estimator", "sliced_wasserstein", "spectrum", "two_sample"}
        assert set(found) == distances | ({"drift"} if arm != "real" else set())
    assert quality["simulated"]["drift"]["error_px"] == 0 < quality["refined"]["drift"]["error_px"]
    assert quality["real"]["kid"] < quality["simulated"]["kid"]
    run = runs[0]
    config = read_config(run)
    opened = partial(open_data, config, toy, device=torch.device("cpu"), run_dir=run)
    sets = TrainingSets(run, config, opened, torch.device("cpu"))
    real = to_unit(first_images(opened("real"), 500).image)
    assert {**quality["refined"], **realism(to_unit(sets.refined.image), real, seed=0)} == quality["refined"]
    arms = evaluate(runs[:1], arms=["augment", "mixed", "fda"])["quality"]
    assert list(arms) == ["simulated", "fda"]  # the others are made of these, or differ every time
    assert arms["simulated"] == quality["simulated"]
    evaluate(runs[:1])


def test_several_answers_an_image_count_alike():
    """Two answers an image: 1 and 3 px, then 5 and 7 px."""
    spec = synthreal_evaluators()[0]
    errors = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    found = outcome.summarize_arm(spec, [EstimatorResult("simulated", 0, 0, {"error_px": errors})], None)
    assert found["error_px"]["mean"] == 4
    assert found["curve"]["percent"] == [0, 25, 25, 50]
    assert found["against_simulated"] is None


def test_the_same_again_is_the_same(runs, single):
    assert evaluate(runs[:1]) == single


def test_several_runs_and_seeds_give_the_spread(runs, single):
    told = []
    result = evaluate(runs, seeds=2, on_arm=lambda *what: told.append(what))
    order = [arm for _ in runs for arm in ARMS for _ in range(2)]
    assert told == [(arm, i, 16) for i, arm in enumerate(order)]
    for arm, summary in result["arms"].items():
        entries = summary["error_px"]["seeds"]
        named = [(entry["refiner_seed"], entry["estimator_seed"]) for entry in entries]
        assert named == [(0, 0), (0, 1), (1, 2), (1, 3)]
        values = [entry["value"] for entry in entries]
        assert summary["error_px"]["mean"] == pytest.approx(statistics.mean(values))
        assert summary["error_px"]["std"] == pytest.approx(statistics.stdev(values))
        assert values[0] == single["arms"][arm]["error_px"]["mean"]
    baseline = [entry["value"] for entry in result["arms"]["simulated"]["error_px"]["seeds"]]
    assert len(set(baseline)) == 4  # no training counted twice in the spread
    assert result["test"] == single["test"]
    assert result["preservation"]["n"] == 60
    for run in runs:
        assert json.loads((run / "evaluation.json").read_text()) == result
    evaluate(runs[:1])  # as the other tests expect it


def test_every_arm_is_compared_with_simulated_on_the_same_images(single):
    for arm, summary in single["arms"].items():
        against = summary["against_simulated"]
        if arm == "simulated":
            assert against is None
            continue
        difference = summary["error_px"]["mean"] - single["arms"]["simulated"]["error_px"]["mean"]
        assert against["difference"] == pytest.approx(difference, rel=1e-4)
        assert against["interval"][0] < against["difference"] < against["interval"][1]
        assert 0 < against["p"] <= 1


def test_the_arms_that_are_asked_for_in_the_order_of_the_table(runs, single, cli):
    result = evaluate(runs[:1], arms=["mixed", "refined"], split="validation")
    assert list(result["arms"]) == ["simulated", "refined", "mixed"]
    done = cli("evaluate", runs[0], "--arms", "real, mixed", "--split", "validation", "--json").ok()
    assert list(json.loads(done.out)["arms"]) == ["simulated", "mixed", "real"]
    everything = evaluate(runs[:1], arms=["all"], split="validation")["arms"]
    assert tuple(everything) == ALL
    assert len({summary["error_px"]["mean"] for summary in everything.values()}) == len(ALL)  # none is another's twin
    evaluate(runs[:1], split="validation")  # as the other tests expect it


def test_an_interrupted_evaluation_goes_on_where_it_was(toy, tmp_path, monkeypatch):
    from synthreal.evaluation import cache as trained

    fit_toy(toy, tmp_path / "run")
    train, calls = trained.train, []

    def third_fails(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(trained, "train", third_fails)
    with pytest.raises(KeyboardInterrupt):
        evaluate([tmp_path / "run"])
    assert not (tmp_path / "run/evaluation.json").exists()
    result = evaluate([tmp_path / "run"])
    assert len(calls) == 5  # two kept, the third again, and the fourth
    shutil.rmtree(tmp_path / "run/estimators")
    assert evaluate([tmp_path / "run"]) == result and len(calls) == 9


def test_validation_images_are_others_and_have_their_own_file(runs, single):
    result = evaluate(runs[:1], split="validation")
    assert (result["split"], result["test"]["n"]) == ("validation", 14)
    assert result["test"]["sha256"] != single["test"]["sha256"]
    assert json.loads((runs[0] / "validation.json").read_text()) == result
    assert json.loads((runs[0] / "evaluation.json").read_text()) == single


def test_without_labelled_real_images_there_is_no_upper_bound(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "data.real_labelled=none", "optimizer.ema=none")
    assert list(evaluate([tmp_path / "run"])["arms"]) == ARMS[:-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("loss.weight=2.0", "runtime.seed=5"), r"differs from .* in loss\.weight; evaluate runs of one"),
        (("runtime.precision=bfloat16", "runtime.seed=5"), r"differs from .* in runtime\.precision"),
        (("evaluation.epochs=1", "runtime.seed=5"), r"differs from .* in evaluation\.epochs"),
        ((), r"has the runtime\.seed of .*seed0 \(0\), .*; fit it with another seed"),
    ],
)
def test_runs_that_cannot_be_compared(toy, runs, tmp_path, settings, message):
    fit_toy(toy, tmp_path / "other", *settings)
    with pytest.raises(UserError, match=message):
        evaluate([runs[0], tmp_path / "other"])
    assert not (tmp_path / "other/evaluation.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.test=none",), r"data\.test is none in this run; set it"),
        (("evaluation.evaluator=none",), r"evaluation\.evaluator is none in this run"),
        (("data.simulated.count=1", "quality=none"), r"the arm 'simulated' has one image"),
    ],
)
def test_runs_that_cannot_be_evaluated(toy, tmp_path, settings, message):
    fit_toy(toy, tmp_path / "run", *settings)
    with pytest.raises(UserError, match=message):
        evaluate([tmp_path / "run"])
    assert not (tmp_path / "run/evaluation.json").exists()


def test_a_run_that_has_not_saved_says_so(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run/refiner.safetensors").unlink()
    with pytest.raises(UserError, match=r"refiner\.safetensors: missing; finish the run with .* or restore"):
        evaluate([tmp_path / "run"])
    with pytest.raises(UserError, match="holds no run"):
        evaluate([tmp_path])


def test_the_command_prints_a_table_or_json(runs, single, cli):
    done = cli("evaluate", runs[0], "--json").ok()
    assert json.loads(done.out) == single
    text = cli("evaluate", runs[0]).ok().out
    assert "against simulated" in text and "constant" in text
    assert cli("evaluate", runs[0], "--split", "validation", "--json").ok().out.count('"split": "validation"') == 1
