"""The model card: front matter the hub reads, and nothing the run's own files do not say."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import yaml
from quick import fit_toy

from synthreal.errors import UserError
from synthreal.evaluation.evaluate import evaluate
from synthreal.inference.model_card import model_card
from synthreal.inference.transform import Refine


@pytest.fixture(scope="module")
def judged(toy, tmp_path_factory):
    """A run that was evaluated."""
    run = tmp_path_factory.mktemp("judged") / "run"
    fit_toy(toy, run)
    evaluate([run])
    return run


def saved(run, folder):
    Refine.load(run).save_pretrained(folder)
    return (folder / "README.md").read_text(encoding="utf-8")


def rows(card, heading):
    """The cells of the first table below a heading, its title row first."""
    section = re.split(r"^##", card.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    table = re.search(r"(^\|[^\n]*\n)+", section, re.MULTILINE)[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    assert set("".join(cells[1])) <= set("- ")
    assert len({len(line) for line in cells}) == 1
    return [cells[0], *cells[2:]]


def test_the_front_matter_is_yaml_that_the_hub_knows(judged, tmp_path):
    _, front, body = saved(judged, tmp_path / "saved").split("---\n", 2)
    found = yaml.safe_load(front)
    assert set(found) == {"library_name", "pipeline_tag", "tags"}
    assert (found["library_name"], found["pipeline_tag"]) == ("synthreal", "image-to-image")
    assert all(isinstance(tag, str) for tag in found["tags"]) and "synthreal" in found["tags"]
    assert body.startswith("\n# toy\n")


def test_it_says_what_the_run_says(judged, tmp_path):
    card = saved(judged, tmp_path / "saved")
    assert "a disc on grey, 1 channel, trained at 12 x 16 px (height x width), stored as uint8" in card
    assert rows(card, "Data")[1:3] == [["simulated", "discs", "40"], ["real", "photographs", "30"]]
    assert "Real images are here those of the data set `photographs`." in card  # "real" is a role's name
    recipe = dict(rows(card, "Recipe")[1:])
    assert recipe["plugins"] == "toy.py"  # no path of the machine
    assert recipe["steps"] == "3 of R alone, 2 of D alone, 6 of the game, batch 8"
    assert recipe["weights"] == "averaged, of step 11"
    assert int(recipe["parameters"].replace(",", "")) == sum(w.numel() for w in Refine.load(judged).parameters())
    assert dict(rows(card, "Versions")[1:])["torch"] == torch.__version__
    assert str(judged) not in card and str(judged.parent) not in card


def test_its_code_runs(judged, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", saved(judged, tmp_path / "saved"), re.DOTALL)
    found = {}
    exec(code.replace("path/to/this/folder", str(tmp_path / "saved")), found)
    assert found["refined"].shape == found["images"].shape == (8, 1, 12, 16)
    assert not torch.equal(found["refined"], found["images"])


def test_a_data_set_without_a_count_is_not_said_to_be_finite(judged, tmp_path):
    run = shutil.copytree(judged, tmp_path / "run")
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("count = 40", 'count = "none"'))
    assert rows(saved(run, tmp_path / "saved"), "Data")[1] == ["simulated", "discs", "all, or endless"]


def test_the_table_is_that_of_the_evaluation(judged, tmp_path):
    card = saved(judged, tmp_path / "saved")
    found = json.loads((judged / "evaluation.json").read_text())
    table = rows(card, "Results")
    assert table[0][:3] == ["trained on", "error_px", "within_1px"]
    assert [line[0] for line in table[1:]] == [*found["arms"], "a constant answer"]
    for line in table[1:-1]:
        arm = found["arms"][line[0]]
        assert line[1] == f"{arm['error_px']['mean']:.2f}"
        if arm["against_simulated"] is not None:
            against = arm["against_simulated"]
            low, high = against["interval"]
            assert line[3].endswith(f" %: {against['difference']:+.2f} ({low:+.2f} to {high:+.2f})")
    assert table[-1][1] == f"{found['constant']['error_px']:.2f}"
    kept = found["preservation"]
    assert f"by {kept['shift_px']['mean']:.2f} ± {kept['shift_px']['std']:.2f} px" in card
    assert f"Mean |R(x) - x| is {kept['change']:.3f}. Over {kept['n']} images." in card
    assert "fitted runs" not in card
    assert "Less error_px is better. `real` is trained on labelled real images, the upper bound." in card


def test_every_number_of_several_runs_has_its_deviation(judged, tmp_path):
    run = shutil.copytree(judged, tmp_path / "run")
    found = json.loads((run / "evaluation.json").read_text())
    found["runs"] *= 3
    for arm in found["arms"].values():
        arm["error_px"]["std"] = 0.125
    (run / "evaluation.json").write_text(json.dumps(found))
    card = saved(run, tmp_path / "saved")
    assert "mean ± standard deviation over 3 fitted runs, of which this is one." in card
    assert all(line[1].endswith(" ± 0.12") for line in rows(card, "Results")[1:-1])


def test_numbers_of_other_weights_are_left_out(judged, toy_run, tmp_path):
    run = shutil.copytree(toy_run, tmp_path / "run")
    assert "## Results\n\nNot evaluated:" in saved(run, tmp_path / "unjudged")
    refine = Refine.load(judged)
    with torch.no_grad():
        next(refine.parameters()).add_(1)
    card = model_card(refine.about, refine.refiner)
    assert "Not evaluated:" in card and "px" not in card.partition("## Results")[2]


def test_a_validation_table_says_that_it_is_one(judged, tmp_path):
    run = shutil.copytree(judged, tmp_path / "run")
    found = json.loads((run / "evaluation.json").read_text())
    (run / "validation.json").write_text(json.dumps({**found, "split": "validation", "preservation": {}}))
    (run / "evaluation.json").unlink()
    card = saved(run, tmp_path / "saved")
    assert "## Results on the validation split" in card and "which chose settings" in card
    assert "Not measured: the domain has no detector of its own." in card
    (run / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"evaluation\.json: damaged"):
        saved(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_saved_folders_card_stays_its_card(judged, tmp_path):
    first = saved(judged, tmp_path / "first")
    (tmp_path / "first" / "README.md").write_text(first + "\nMy own words.\n", encoding="utf-8")
    assert saved(tmp_path / "first", tmp_path / "second") == first + "\nMy own words.\n"
    (tmp_path / "first" / "README.md").write_text("# Somebody else's", encoding="utf-8")
    assert "Not evaluated:" in saved(tmp_path / "first", tmp_path / "third")


def test_words_from_outside_break_no_table(judged, tmp_path):
    run = shutil.copytree(judged, tmp_path / "run")
    config = (run / "config.toml").read_text()
    config = config.replace('recipe = "toy"', 'recipe = "a|b <script> *x*"').replace("a disc on grey", "a\\nb | c")
    (run / "config.toml").write_text(config)
    card = saved(run, tmp_path / "saved")
    assert r"# a\|b \<script\> \*x\*" in card and "Images: a b \\| c, 1 channel" in card
    assert rows(card, "Recipe")[1] == ["recipe", r"a\|b \<script\> \*x\*"]
