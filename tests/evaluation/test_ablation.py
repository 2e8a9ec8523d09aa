"""An ablation: the same budget for every combination, one table, a picture each, and no work done twice."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from quick import QUICK, TOY, configured, files, flags

from synthreal.errors import UserError
from synthreal.evaluation import ablation as module
from synthreal.evaluation import cache as trained
from synthreal.evaluation.ablation import ablate, agreement, slug
from synthreal.hooks.resolve import resolve

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


def test_a_table_of_every_combination_with_its_runs_and_pictures(finished):
    folder, result = finished
    assert json.loads((folder / "ablation.json").read_text()) == result
    assert (result["over"], result["seeds"], result["split"], result["primary"]) == (
        OVER,
        2,
        "validation",
        "error_px",
    )
    settings = [row["settings"] for row in result["rows"]]
    assert settings[0] == {"history": "on", "discriminator": "local"} and len(settings) == 4
    for row in result["rows"]:
        assert len(row["arms"]["refined"]["error_px"]["seeds"]) == 2
        assert set(row["arms"]) == {"simulated", "refined"}
        assert size(folder / row["picture"])[0] > 100
    assert len({row["arms"]["refined"]["error_px"]["mean"] for row in result["rows"]}) == 4
    assert len({row["arms"]["simulated"]["error_px"]["mean"] for row in result["rows"]}) == 1
    assert size(folder / "sheet.png")[1] > size(folder / result["rows"][0]["picture"])[1]


def test_the_score_without_labels_is_held_against_the_true_error(finished):
    _, result = finished
    pairs = []
    for row in result["rows"]:
        assert [look["step"] for look in row["looks"]] == [11, 11]
        refined, simulated = (
            [seed["value"] for seed in row["arms"][arm]["error_px"]["seeds"]] for arm in ("refined", "simulated")
        )
        gains = [mine - base for mine, base in zip(refined, simulated, strict=True)]
        pairs += [(look["score"], gain) for look, gain in zip(row["looks"], gains, strict=True)]
    rank = lambda values: [sorted(values).index(value) for value in values]  # noqa: E731
    one, other = (rank(values) for values in zip(*pairs, strict=True))
    squares = sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    assert result["rule"] == {"spearman": pytest.approx(1 - 6 * squares / (8 * 63)), "runs": 8}
    assert agreement([{**row, "looks": [None, None]} for row in result["rows"]]) is None


def test_what_seeds_have_in_common_is_no_agreement():
    """Seed 1 has higher scores and higher errors, of simulated images too; within a seed scores say the opposite."""

    def row(scores, errors):
        seeds = {"simulated": (10, 20), "refined": errors}
        arms = {arm: {"e": {"seeds": [{"value": value} for value in values]}} for arm, values in seeds.items()}
        return {"primary": "e", "arms": arms, "looks": [{"score": score} for score in scores]}

    assert agreement([row((1, 11), (9, 19)), row((2, 12), (8, 18)), row((3, 13), (7, 17))])["spearman"] < -0.4


def test_the_test_split_is_read_only_when_asked(toy, tmp_path):
    results = [ablate(base(toy), toy, OVER[:1], tmp_path, split=split) for split in ("validation", "test")]
    tests = [result["rows"][0]["test"]["sha256"] for result in results]
    assert [result["split"] for result in results] == ["validation", "test"] and tests[0] != tests[1]
    assert results[0]["rows"][0]["arms"] != results[1]["rows"][0]["arms"]


def test_a_folder_that_is_a_run_is_refused(toy, toy_run):
    with pytest.raises(UserError, match="holds a run itself; give the ablation a folder of its own"):
        ablate(base(toy), toy, OVER, toy_run)


def test_simulated_images_are_trained_on_once_a_seed(finished):
    folder, _ = finished
    kept = [path for path in files(folder) if path.endswith(".safetensors") and "estimators" in path]
    assert len([path for path in kept if "simulated" in path]) == 2 and len(kept) == 2 + 4 * 2


def test_again_does_nothing_twice(toy, finished, monkeypatch):
    folder, result = finished
    monkeypatch.setattr(trained, "train", None)
    reports = []
    assert ablate(base(toy), toy, OVER, folder, seeds=2, on_fit=lambda *what: reports.append) == result
    assert reports == []


def test_progress_counts_the_steps_of_every_combination(toy, tmp_path):
    told = []

    def on_fit(name, done, total):
        told.append((name, done, total))
        return lambda report: None

    ablate(base(toy), toy, ["schedule.steps=2,6"], tmp_path, on_fit=on_fit)
    assert told == [("schedule.steps=2", 0, 7 + 11), ("schedule.steps=6", 7, 7 + 11)]


def test_an_interrupted_ablation_goes_on(toy, tmp_path, monkeypatch):
    fit, calls = module.fit, []

    def second_stops(*arguments, **options):
        calls.append(arguments[2].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(module, "fit", second_stops)
    with pytest.raises(KeyboardInterrupt):
        ablate(base(toy), toy, OVER[:1], tmp_path)
    result = ablate(base(toy), toy, OVER[:1], tmp_path)
    assert len(result["rows"]) == 2 and len(calls) == 4


def test_an_ablation_goes_on_that_was_killed_before_a_run_saved(toy, tmp_path):
    killed = tmp_path / "history=on/seed-0"
    killed.mkdir(parents=True)
    (killed / "config.toml").write_text(base(toy).to_toml())
    (killed / "log.jsonl").write_text('{"step": 1}\n{"st')
    assert len(ablate(base(toy), toy, OVER[:1], tmp_path)["rows"]) == 2


def test_runs_of_another_configuration_are_refused(toy, finished):
    folder, _ = finished
    with pytest.raises(UserError, match=r"refiner\.options\.width"):
        ablate(base(toy, "refiner.options.width=5"), toy, OVER, folder)


@pytest.mark.parametrize("setting", ["evaluation.evaluator=none", "data.validation=none"])
def test_what_cannot_be_judged_is_not_fitted(toy, tmp_path, setting):
    with pytest.raises(UserError, match=rf"{setting.partition('=')[0]} is none"):
        ablate(base(toy, setting), toy, OVER, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["evaluation.evaluator", "data.validation"])
def test_what_one_combination_cannot_be_judged_on_is_not_fitted_either(toy, tmp_path, key):
    with pytest.raises(UserError, match=rf"{key} is none; an ablation is judged on it"):
        ablate(base(toy), toy, [f"{key}=on,off"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_become_folders():
    assert slug("history=off, discriminator=global") == "history=off,discriminator=global"
    odd = slug('features={name="blur", options={sigma=2.0}}')
    assert "/" not in odd and " " not in odd and odd != slug('features={name="blur", options={sigma=3.0}}')
    assert len(slug("a" * 500)) < 120


def test_the_command_prints_a_table_or_json(cli, tmp_path):
    words = ["ablate", "--plugin", TOY, *flags(*QUICK), "--run", tmp_path / "out", "--over", "history=on,off"]
    first = cli(*words, "--json").ok()
    result = json.loads(first.out)
    assert "ablating 22/22 history=off" in first.err
    assert [row["settings"] for row in result["rows"]] == [{"history": "on"}, {"history": "off"}]
    done = cli(*words).ok()
    assert "error_px" in done.out and "sheet.png" in done.out and "off" in done.out
