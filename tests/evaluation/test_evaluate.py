"""Evaluation: arms, the content of evaluation.json, seeds and their spread, and runs that are not comparable."""

from __future__ import annotations

import json
import shutil
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quick import configured, fit_toy, flags
from renders import SHORT
from toy import CENTRE, IMAGE, synthreal_evaluators

import synthreal.evaluation.cache as cache
from synthreal.data.encoding import to_unit
from synthreal.data.writer import PackWriter
from synthreal.errors import UserError
from synthreal.evaluation.evaluate import EstimatorResult, evaluate, summarize_arm
from synthreal.evaluation.training_sets import ARMS as ALL, TAUGHT, UNTESTED, TrainingSets
from synthreal.inference.pretrained import read_config
from synthreal.inference.transform import Refine
from synthreal.inference.weights import weights_sha256
from synthreal.metrics.distances import realism
from synthreal.report import write_report
from synthreal.results.schema import Displacement, read_evaluations
from synthreal.spec import Skipped
from synthreal.train.sources import first_images, open_data

ARMS = ["simulated", "refined", "versions", "histogram", "real"]
MEASURED = ["simulated", "refined", "histogram", "real"]  # whose quality can be measured
MIXED = ["versions", "augment", "refined+augment", "mixed", *TAUGHT]  # of several looks: quality unknown
STORED = Path(__file__).parent.parent / "results" / "evaluation.json"  # written before there were models


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """Two runs of one configuration, fitted with seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        fit_toy(toy, folder / f"seed{seed}", f"runtime.seed={seed}")
    return [folder / "seed0", folder / "seed1"]


@pytest.fixture(scope="module")
def single(runs):
    """The evaluation of one run with one seed."""
    return evaluate(runs[:1])


def structure(tree):
    """The keys of nested tables, in order, and the types of their values."""
    if isinstance(tree, dict):
        return [(key, structure(value)) for key, value in tree.items()]
    return [structure(value) for value in tree] if isinstance(tree, list) else type(tree)


def test_one_run_and_one_seed(toy, runs, single, tmp_path):
    assert json.loads((runs[0] / "evaluation.json").read_text()) == single.to_json()
    content, stored = single.to_json(), json.loads(STORED.read_text())
    assert content.pop("verdict")["use"] == "nothing" and stored.pop("verdict") is None
    del content["arms"]["versions"], content["calibration"]["versions"]  # newer than the file
    assert structure(content) == structure(stored)
    assert single.weights == (weights_sha256(Refine.load(runs[0]).refiner),)
    assert single.warnings == ()
    test = open_data(configured(toy), toy, "test", device=torch.device("cpu"), run_dir=tmp_path)
    assert single.test.model_dump() == {"name": "photographs", "n": 15, "sha256": test.sha256()}
    assert single.preservation.n == 30
    assert set(single.constant) == {"error_px", "within_1px"}
    assert list(single.arms) == ARMS
    for arm in single.arms.values():
        assert set(arm.metrics) == {"error_px", "within_1px"}
        for metric in arm.metrics.values():
            assert metric.std is None
            assert [seed.model_dump() for seed in metric.seeds] == [
                {"refiner_seed": 0, "estimator_seed": 0, "value": metric.mean}
            ]
        within = arm.metrics["within_1px"].mean
        assert 0 <= within <= 100
        assert (arm.curve.threshold, arm.curve.unit) == ((0.5, 1.0, 2.0, 4.0), "px")
        assert list(arm.curve.percent) == sorted(arm.curve.percent) and arm.curve.percent[-1] <= 100
        assert arm.curve.percent[1] == pytest.approx(within, rel=1e-5)  # one image is 6.7 %


def test_every_arm_is_compared_with_simulated_on_the_same_images(single):
    base = single.arms["simulated"].metrics["error_px"].mean
    assert single.arms["simulated"].against is None
    for name in ARMS[1:]:
        against = single.arms[name].against
        assert against.difference == pytest.approx(single.arms[name].metrics["error_px"].mean - base, rel=1e-4)
        assert against.interval[0] < against.difference < against.interval[1]
        assert 0 < against.p <= 1


def test_offset_and_scatter_of_every_arm_and_the_error_after_calibration(toy, runs, single, tmp_path, cli):
    assert list(single.calibration) == ARMS
    for found in single.calibration.values():
        assert list(found.quantities) == ["centre[0] (px)", "centre[1] (px)"]
        assert found.images == 9 and found.error > 0 and found.std > 0
    fit_toy(toy, tmp_path / "run", "evaluation.calibration=none")
    shutil.copytree(runs[0] / "estimators", tmp_path / "run/estimators")
    plain = evaluate([tmp_path / "run"])
    assert plain.arms == single.arms
    for arm, found in plain.calibration.items():
        assert found.quantities == single.calibration[arm].quantities and found.error is None
    assert "Offset and scatter" in cli("evaluate", runs[0]).ok().out
    assert "Offset and scatter" in write_report(runs[0]).read_text()


def test_without_photographs_to_calibrate_with_offset_and_scatter_remain(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "data.real_labelled=none")
    (found,) = evaluate([tmp_path / "run"], arms=["simulated"]).calibration.values()
    assert found.quantities and found.images is None


def test_unreadable_test_images_are_reported(toy, tmp_path):
    image = torch.randint(0, 255, (9, 1, 12, 16), dtype=torch.uint8).numpy()
    with PackWriter(tmp_path / "test.h5", image=IMAGE, labels=(CENTRE,), role="test", name="mine") as writer:
        writer.append(image, {"centre": np.zeros((9, 1, 2), np.float32)})
        writer.skip(Skipped("a.png", "truncated"))
    fit_toy(
        toy,
        tmp_path / "run",
        f'data.test={{name="pack", options={{path="{tmp_path}/test.h5"}}}}',
        "data.real_labelled=none",
        "optimizer.ema=none",
    )
    result = evaluate([tmp_path / "run"])
    unreadable, other = result.warnings
    assert unreadable == "data.test: 1 unreadable files skipped: a.png: truncated"
    assert other.startswith("data.test is mine, ") and "photographs" in other
    assert list(result.arms) == ARMS[:-1]  # without labelled real images there is no upper bound


def test_the_quality_of_every_training_set_is_measured_without_labels_of_real_images(toy, runs, single, tmp_path):
    quality = single.quality
    assert list(quality) == MEASURED
    for arm, found in quality.items():
        distances = {"kid", "kid_estimator", "sliced_wasserstein", "spectrum", "two_sample"}
        assert set(found.model_dump()) == distances | ({"drift"} if arm != "real" else set())
    assert quality["simulated"].drift["error_px"] == 0 < quality["refined"].drift["error_px"]
    assert quality["real"].kid < quality["simulated"].kid
    open_role = partial(open_data, read_config(runs[0]), toy, device=torch.device("cpu"), run_dir=runs[0])
    sets = TrainingSets(runs[0], read_config(runs[0]), open_role, torch.device("cpu"), count=30)
    real = to_unit(first_images(open_role("real"), 500).image)
    expected = realism(to_unit(sets.refined.image), real, seed=0)
    assert {name: getattr(quality["refined"], name) for name in expected} == expected


def test_the_displacement_of_content_is_that_of_the_simulated_images_of_all_runs(runs, single, tmp_path, monkeypatch):
    """The images of the toy domain are too small for it, so the measurement is replaced."""
    assert single.displacement is None
    known, given = Displacement(mean_px=0.3, p95_px=0.8, unmatched=0.1, control_px=2.0, n=60), []
    monkeypatch.setattr(
        "synthreal.evaluation.evaluate.content_preservation", lambda pairs: given.append(pairs) or known
    )
    copies = [shutil.copytree(run, tmp_path / run.name) for run in runs]
    assert evaluate(copies, arms=["simulated"]).displacement == known
    for run in copies:
        (found,) = read_evaluations(run)
        assert found.displacement == known
    ((first, second),) = given
    assert torch.equal(first[0].image, second[0].image) and not torch.equal(first[1].image, second[1].image)
    assert not torch.equal(*(images.image for images in first))


def write_discs(path, toy, role, name="photographs", change=lambda image: image):
    """A pack of the toy camera's images of a role, changed, under the name of a data set."""
    source = open_data(configured(toy), toy, role, device=torch.device("cpu"), run_dir=path.parent)
    labels = () if role == "real" else (CENTRE,)
    with PackWriter(path, image=IMAGE, labels=labels, role=role, name=name) as writer:
        writer.append(change(source.image.numpy()), {"centre": source.labels["centre"].numpy()} if labels else {})
    return f'data.{role}={{name="pack", options={{path="{path}"}}}}'


def test_results_on_other_data_than_the_real_images_carry_a_warning_above_the_table(toy, tmp_path, cli):
    real = write_discs(tmp_path / "real.h5", toy, "real", name="mine")
    fit_toy(toy, tmp_path / "run", real, "data.real_labelled=none")
    done = cli("evaluate", tmp_path / "run", "--arms", "simulated", "--split", "validation").ok()
    (warning,) = json.loads((tmp_path / "run/validation.json").read_text())["warnings"]
    assert warning.startswith("data.validation is photographs, another data set than data.real, mine")
    said = " ".join(done.out.split())
    assert said.startswith(f"warning: {warning}") and "Tested on" in said
    page = write_report(tmp_path / "run").read_text()
    assert 0 < page.index("another data set than data.real") < page.index("Tested on")


def test_packs_made_from_one_data_set_are_of_one_origin(toy, tmp_path):
    packs = [write_discs(tmp_path / f"{role}.h5", toy, role) for role in ("real", "test")]
    fit_toy(toy, tmp_path / "run", *packs, "data.real_labelled=none")
    assert evaluate([tmp_path / "run"], arms=["simulated"]).warnings == ()


def test_test_images_that_look_misread_are_reported(toy, tmp_path):
    packs = write_discs(tmp_path / "test.h5", toy, "test", change=lambda image: image >> 4)
    fit_toy(toy, tmp_path / "run", packs, "data.real_labelled=none")
    (warning,) = evaluate([tmp_path / "run"], arms=["simulated"]).warnings
    assert warning.startswith("data.test: ") and "dark" in warning


@pytest.mark.parametrize("role", ["test", "real_labelled"])
def test_labelled_images_with_other_levels_than_the_real_ones_are_reported(toy, tmp_path, role):
    pack = write_discs(tmp_path / "pack.h5", toy, role, change=lambda image: 255 - image)
    fit_toy(toy, tmp_path / "run", pack)
    (warning,) = evaluate([tmp_path / "run"], arms=["real"]).warnings
    assert warning.startswith(f"data.{role}: ") and "inverted" in warning and "data.real" in warning


def test_a_tiny_test_set_is_reported(toy, tmp_path):
    fit_toy(toy, tmp_path / "run", "data.test.count=1")
    (warning,) = evaluate([tmp_path / "run"], arms=["simulated"]).warnings
    assert warning.startswith("data.test: ") and "n is only 1" in warning


def test_several_answers_per_image_count_equally():
    """Two answers per image: 1 and 3 px, then 5 and 7 px."""
    errors = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    results = [EstimatorResult("simulated", 0, 0, {"error_px": errors})]
    arm = summarize_arm(synthreal_evaluators()[0], results, None)
    assert arm.metrics["error_px"].mean == 4
    assert arm.curve.percent == (0, 25, 25, 50)
    assert arm.against is None
    assert summarize_arm(synthreal_evaluators()[0], results, results).against.difference == 0


def test_several_runs_and_seeds_give_the_spread(runs, single):
    calls = []
    result = evaluate(runs, seeds=2, on_arm=lambda *args: calls.append(args))
    order = [arm for _ in runs for arm in ARMS for _ in range(2)]
    assert calls == [(arm, i, 20) for i, arm in enumerate(order)]
    for name, arm in result.arms.items():
        metric = arm.metrics["error_px"]
        seeds = [(seed.refiner_seed, seed.estimator_seed) for seed in metric.seeds]
        assert seeds == [(0, 0), (0, 1), (1, 2), (1, 3)]
        values = [seed.value for seed in metric.seeds]
        assert metric.mean == pytest.approx(statistics.mean(values))
        assert metric.std == pytest.approx(statistics.stdev(values))
        assert values[0] == single.arms[name].metrics["error_px"].mean
    assert len({seed.value for seed in result.arms["simulated"].metrics["error_px"].seeds}) == 4
    assert result.test == single.test
    assert result.preservation.n == 60
    for run in runs:
        assert json.loads((run / "evaluation.json").read_text()) == result.to_json()
    assert evaluate(runs[:1]) == single  # and evaluation.json is again as the other tests expect it


def test_all_arms_in_the_order_of_the_table_on_validation_images(runs, single, cli):
    done = cli("evaluate", runs[0], "--arms", "real, mixed", "--split", "validation", "--json").ok()
    assert list(json.loads(done.out)["arms"]) == ["simulated", "mixed", "real"]
    result = evaluate(runs[:1], arms=["all"], split="validation")
    assert tuple(result.arms) == ALL
    assert len({arm.metrics["error_px"].mean for arm in result.arms.values()}) == len(ALL)
    assert [arm for arm in ALL if arm not in result.quality] == MIXED
    assert (result.split, result.test.n) == ("validation", 14)
    assert result.test.sha256 != single.test.sha256
    assert json.loads((runs[0] / "validation.json").read_text()) == result.to_json()
    assert json.loads((runs[0] / "evaluation.json").read_text()) == single.to_json()


def test_an_interrupted_evaluation_continues_and_training_is_reproducible(toy, tmp_path, monkeypatch):
    fit_toy(toy, tmp_path / "run")
    train, calls = cache.train, []

    def third_fails(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(cache, "train", third_fails)
    with pytest.raises(KeyboardInterrupt):
        evaluate([tmp_path / "run"])
    assert not (tmp_path / "run/evaluation.json").exists()
    result = evaluate([tmp_path / "run"])
    assert len(calls) == 6  # two were cached
    shutil.rmtree(tmp_path / "run/estimators")
    assert evaluate([tmp_path / "run"]) == result and len(calls) == 11


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("loss.weight=2.0", "runtime.seed=5"), r"differs from .* in loss\.weight; evaluate runs of one"),
        (("runtime.precision=bfloat16", "runtime.seed=5"), r"differs from .* in runtime\.precision"),
        ((), r"has the runtime\.seed of .*seed0 \(0\); fit it with another seed"),
    ],
)
def test_runs_that_are_not_comparable(toy, runs, tmp_path, settings, message):
    fit_toy(toy, tmp_path / "other", *settings)
    with pytest.raises(UserError, match=message):
        evaluate([runs[0], tmp_path / "other"])
    assert not (tmp_path / "other/evaluation.json").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.simulated.count=1", "quality=none"), r"the arm 'simulated' has one image"),
        (("data.real_labelled.count=1",), r"the arm 'real' has one image"),
    ],
)
def test_runs_that_cannot_be_evaluated(toy, tmp_path, settings, message):
    """Found before the first training."""
    fit_toy(toy, tmp_path / "run", *settings)
    with pytest.raises(UserError, match=message):
        evaluate([tmp_path / "run"], on_arm=lambda arm, done, total: pytest.fail(f"trained {arm}"))
    assert not (tmp_path / "run/evaluation.json").exists()


def test_without_an_evaluator_nothing_is_trained_and_realism_and_displacement_decide(tmp_path, cli):
    """Chequers of 48 px whose real images are darker; R is a shift of brightness."""
    rng = np.random.default_rng(0)
    for name, gain in (("renders", 1.0), ("photographs", 0.5)):
        (tmp_path / name).mkdir()
        for number in range(40):
            cells = rng.integers(0, 256, (6, 6)).repeat(8, 0).repeat(8, 1)
            Image.fromarray((gain * cells).astype("uint8")).save(tmp_path / name / f"{number}.png")
    folders = ("--simulated", tmp_path / "renders", "--real", tmp_path / "photographs")
    cli("fit", *folders, "--run", tmp_path / "run", "--minutes", 1, *flags(*SHORT)).ok()
    found = evaluate([tmp_path / "run"], on_arm=lambda *arm: pytest.fail(f"trained {arm}"))
    assert found.primary == "" and found.arms == {} and found.test is None and found.preservation is None
    assert tuple(found.quality) == UNTESTED[:-1] and all(one.two_sample is None for one in found.quality.values())
    assert found.quality["simulated"].displacement_px == 0 < found.quality["fda"].displacement_px
    assert (found.verdict.use, found.verdict.arm, found.verdict.labelled) == ("style", "fda", False)
    assert any("evaluation.evaluator is none" in warning for warning in found.warnings)
    assert found.verdict.sentence in " ".join(cli("evaluate", tmp_path / "run").ok().out.split())
    assert found.verdict.sentence in write_report(tmp_path / "run").read_text()


def test_a_run_without_saved_weights_is_an_error(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "run")
    (tmp_path / "run/refiner.safetensors").unlink()
    with pytest.raises(UserError, match=r"refiner\.safetensors: missing"):
        evaluate([tmp_path / "run"])
    with pytest.raises(UserError, match="holds no run"):
        evaluate([tmp_path])


def test_the_command_prints_a_table_or_json(runs, single, cli):
    assert json.loads(cli("evaluate", runs[0], "--json").ok().out) == single.to_json()
    text = cli("evaluate", runs[0]).ok().out
    assert "against simulated" in text and "constant" in text


def test_without_labelled_real_images_only_the_first_run_needs_training_sets(toy, tmp_path, monkeypatch):
    runs = [tmp_path / "one", tmp_path / "two"]
    for seed, run in enumerate(runs):
        fit_toy(toy, run, "data.test=none", f"runtime.seed={seed}")
    made, make = [], TrainingSets.__getitem__
    monkeypatch.setattr(TrainingSets, "__getitem__", lambda sets, arm: made.append(arm) or make(sets, arm))
    found = evaluate(runs, arms=["refined", "histogram"])
    assert made == list(found.quality) == ["simulated", "refined", "histogram"] and len(found.weights) == 2


def test_without_labelled_real_images_quality_is_measured_without_labels(toy, tmp_path, cli):
    fit_toy(toy, tmp_path / "run", "data.test=none")
    trained = []
    found = evaluate([tmp_path / "run"], seeds=2, on_arm=lambda *arm: trained.append(arm))
    assert trained == [("simulated", 0, 1)]
    assert found.test is None and found.arms == {} and found.constant == {}
    assert tuple(found.quality) == UNTESTED
    assert found.quality["refined"].kid is not None and found.quality["refined"].drift
    assert any("data.test is none" in warning for warning in found.warnings)
    assert read_evaluations(tmp_path / "run") == (found,)
    shown = cli("evaluate", tmp_path / "run", "--trust").ok().out
    assert "Quality without labels" in shown and "Tested on" not in shown
    page = cli("report", tmp_path / "run", "--trust").ok()
    assert page.code == 0 and "Quality without labels" in (tmp_path / "run/report.html").read_text()
    Refine.load(tmp_path / "run", trust=True).save_pretrained(tmp_path / "saved")
    assert "no labelled real images" in (tmp_path / "saved/README.md").read_text()


def test_a_run_without_the_styles_of_its_real_images_says_how_to_get_them(toy, tmp_path, cli):
    fit_toy(toy, tmp_path / "run")
    (tmp_path / "run/styles.safetensors").unlink()
    with pytest.raises(UserError, match=r"styles.safetensors: missing.*fit --run .*run --resume"):
        evaluate([tmp_path / "run"])
    evaluate([tmp_path / "run"], arms=["refined"])
    fit_toy(toy, tmp_path / "run", resume=True)
    assert "versions" in evaluate([tmp_path / "run"]).arms
