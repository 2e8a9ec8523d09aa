"""Ablations: the same budget for every combination, one table, a sheet each, and no work repeated."""

from __future__ import annotations

import json
import sys

import pytest
from PIL import Image
from quick import QUICK, TOY, configured, files, flags

import synthreal.evaluation.cache as cache
from synthreal.errors import UserError
from synthreal.evaluation.ablation import ablate, agreement, slug
from synthreal.hooks.resolve import resolve
from synthreal.results.schema import Arm, Metric, Seed

OVER = ["history=on,off", "discriminator=local,global"]


def base(toy, *settings):
    return resolve(configured(toy, *settings), toy)


def size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation") / "out"
    return folder, ablate(base(toy), toy, OVER, folder, seeds=2)


def test_a_table_of_every_combination_with_its_runs_and_sheets(finished):
    folder, result = finished
    assert json.loads((folder / "ablation.json").read_text()) == result.to_json()
    assert (result.over, result.seeds, result.split, result.primary) == (tuple(OVER), 2, "validation", "error_px")
    assert result.rows[0].settings == {"history": "on", "discriminator": "local"} and len(result.rows) == 4
    for row in result.rows:
        assert set(row.evaluation.arms) == {"simulated", "refined"}
        assert len(row.evaluation.arms["refined"].metrics["error_px"].seeds) == 2
        assert size(folder / row.picture)[0] > 100
    assert len({row.evaluation.arms["refined"].metrics["error_px"].mean for row in result.rows}) == 4
    assert len({row.evaluation.arms["simulated"].metrics["error_px"].mean for row in result.rows}) == 1
    assert size(folder / "sheet.png")[1] > size(folder / result.rows[0].picture)[1]


def test_the_label_free_score_is_correlated_with_the_true_error(finished):
    _, result = finished
    pairs = []
    for row in result.rows:
        assert [report["step"] for report in row.reports] == [11, 11]
        refined, simulated = (row.evaluation.arms[arm].metrics["error_px"].seeds for arm in ("refined", "simulated"))
        gains = [mine.value - base.value for mine, base in zip(refined, simulated, strict=True)]
        pairs += [(report["score"], gain) for report, gain in zip(row.reports, gains, strict=True)]
    rank = lambda values: [sorted(values).index(value) for value in values]  # noqa: E731
    scores, gains = (rank(values) for values in zip(*pairs, strict=True))
    squares = sum((score - gain) ** 2 for score, gain in zip(scores, gains, strict=True))
    assert result.rule.spearman == pytest.approx(1 - 6 * squares / (8 * 63)) and result.rule.runs == 8
    assert agreement([row.model_copy(update={"reports": (None, None)}) for row in result.rows]) is None


def test_differences_between_seeds_do_not_count_as_agreement(finished):
    """Seed 1 has higher scores and errors, of simulated images too; within a seed, scores and errors disagree."""
    _, result = finished

    def row(scores, errors):
        arms = {}
        for arm, values in {"simulated": (10, 20), "refined": errors}.items():
            seeds = tuple(Seed(refiner_seed=i, estimator_seed=i, value=value) for i, value in enumerate(values))
            arms[arm] = Arm(metrics={"error_px": Metric(mean=0, seeds=seeds)})
        evaluation = result.rows[0].evaluation.model_copy(update={"arms": arms})
        reports = tuple({"score": score} for score in scores)
        return result.rows[0].model_copy(update={"evaluation": evaluation, "reports": reports})

    assert agreement([row((1, 11), (9, 19)), row((2, 12), (8, 18)), row((3, 13), (7, 17))]).spearman < -0.4


def test_the_split_decides_the_images_to_test_on(toy, finished, monkeypatch):
    folder, result = finished
    test = ablate(base(toy), toy, OVER, folder, seeds=2, split="test")
    assert (result.split, test.split) == ("validation", "test")
    assert result.rows[0].evaluation.test.sha256 != test.rows[0].evaluation.test.sha256
    assert result.rows[0].evaluation.arms != test.rows[0].evaluation.arms
    monkeypatch.setattr(cache, "train", None)
    reports = []
    assert ablate(base(toy), toy, OVER, folder, seeds=2, on_fit=lambda *args: reports.append) == result
    assert reports == []  # nothing is fitted or trained again


def test_a_folder_that_is_a_run_is_refused(toy, toy_run):
    with pytest.raises(UserError, match="holds a run itself; give the ablation a folder of its own"):
        ablate(base(toy), toy, OVER, toy_run)


def test_the_simulated_arm_is_trained_once_per_seed(finished):
    folder, _ = finished
    kept = [path for path in files(folder) if path.endswith(".safetensors") and "estimators" in path]
    assert len([path for path in kept if "simulated" in path]) == 2 and len(kept) == 2 + 4 * 2


def test_progress_counts_the_steps_of_every_combination(toy, tmp_path):
    calls = []

    def on_fit(name, done, total):
        calls.append((name, done, total))
        return lambda report: None

    ablate(base(toy), toy, ["schedule.steps=2,6"], tmp_path, on_fit=on_fit)
    assert calls == [("schedule.steps=2", 0, 7 + 11), ("schedule.steps=6", 7, 7 + 11)]


def test_an_interrupted_ablation_continues(toy, tmp_path, monkeypatch):
    module, calls = sys.modules["synthreal.evaluation.ablation"], []  # the package exports a function of that name
    fit = module.fit

    def second_stops(*arguments, **options):
        calls.append(arguments[2].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(module, "fit", second_stops)
    with pytest.raises(KeyboardInterrupt):
        ablate(base(toy), toy, OVER[:1], tmp_path)
    result = ablate(base(toy), toy, OVER[:1], tmp_path)
    assert len(result.rows) == 2 and len(calls) == 4


def test_an_ablation_killed_before_a_run_saved_continues(toy, tmp_path):
    killed = tmp_path / "history=on/seed-0"
    killed.mkdir(parents=True)
    (killed / "config.toml").write_text(base(toy).to_toml())
    (killed / "log.jsonl").write_text('{"step": 1}\n{"st')
    assert len(ablate(base(toy), toy, OVER[:1], tmp_path).rows) == 2


def test_runs_of_another_configuration_are_refused(toy, finished):
    folder, _ = finished
    with pytest.raises(UserError, match=r"refiner\.options\.width"):
        ablate(base(toy, "refiner.options.width=5"), toy, OVER, folder)


@pytest.mark.parametrize("key", ["evaluation.evaluator", "data.validation"])
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_combination_that_cannot_be_evaluated_is_an_error_before_any_fit(toy, tmp_path, key, everywhere):
    config, over = (base(toy, f"{key}=none"), OVER) if everywhere else (base(toy), [f"{key}=on,off"])
    with pytest.raises(UserError, match=rf"{key} is none; an ablation is judged on it"):
        ablate(config, toy, over, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_combinations_have_folder_names():
    assert slug("history=off, discriminator=global") == "history=off,discriminator=global"
    odd = slug('features={name="blur", options={sigma=2.0}}')
    assert "/" not in odd and " " not in odd and odd != slug('features={name="blur", options={sigma=3.0}}')
    assert len(slug("a" * 500)) < 120


def test_the_command_prints_a_table_or_json(cli, tmp_path):
    words = ["ablate", "--plugin", TOY, *flags(*QUICK), "--run", tmp_path / "out", "--over", "history=on,off"]
    first = cli(*words, "--json").ok()
    result = json.loads(first.out)
    assert "ablating 22/22" in first.err and "history=off" in first.err
    assert [row["settings"] for row in result["rows"]] == [{"history": "on"}, {"history": "off"}]
    done = cli(*words).ok()
    assert "error_px" in done.out and "sheet.png" in done.out and "off" in done.out
