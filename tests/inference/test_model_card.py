"""The model card: front matter for the hub, and content from the files of the run alone."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import yaml

from synthreal.errors import UserError
from synthreal.hooks.discovery import version_of
from synthreal.inference.model_card import model_card
from synthreal.inference.transform import Refine
from synthreal.results.schema import read_evaluations
from synthreal.results.tables import evaluation_tables


def saved(run, folder):
    Refine.load(run).save_pretrained(folder)
    return (folder / "README.md").read_text(encoding="utf-8")


def rows(card, heading):
    """The cells of the first table below a heading, its columns first."""
    section = re.split(r"^##", card.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    table = re.search(r"(^\|[^\n]*\n)+", section, re.MULTILINE)[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    assert set("".join(cells[1])) <= set("- ")
    assert len({len(line) for line in cells}) == 1
    return [cells[0], *cells[2:]]


def test_the_front_matter_is_yaml_for_the_hub(evaluated, tmp_path):
    _, front, body = saved(evaluated, tmp_path / "saved").split("---\n", 2)
    found = yaml.safe_load(front)
    assert set(found) == {"library_name", "pipeline_tag", "tags", "license", "model-index"}
    assert (found["library_name"], found["pipeline_tag"]) == ("synthreal", "image-to-image")
    assert all(isinstance(tag, str) for tag in found["tags"]) and "synthreal" in found["tags"]
    assert body.startswith("\n# toy\n")


def test_the_content_describes_the_run(evaluated, tmp_path):
    card = saved(evaluated, tmp_path / "saved")
    assert "a disc on grey, 1 channel, trained at 12 x 16 px (height x width), stored as uint8" in card
    assert rows(card, "Data")[1:3] == [["simulated", "discs", "40"], ["real", "photographs", "30"]]
    assert "data set `photographs`" in card
    recipe = dict(rows(card, "Recipe")[1:])
    assert recipe["plugins"] == "toy.py"  # no path of the machine
    assert recipe["steps"] == "3 of R alone, 2 of D alone, 6 of the game, batch 8"
    assert recipe["weights"] == "averaged, of step 11"
    assert int(recipe["parameters"].replace(",", "")) == sum(w.numel() for w in Refine.load(evaluated).parameters())
    assert dict(rows(card, "Versions")[1:])["torch"] == version_of("torch")
    assert str(evaluated) not in card and str(evaluated.parent) not in card


def test_the_styles_are_described_where_there_are_some(evaluated, tmp_path):
    assert "`styles.safetensors` holds statistics of 30 real images: " in saved(evaluated, tmp_path / "saved")
    run = shutil.copytree(evaluated, tmp_path / "run")
    (run / "styles.safetensors").unlink()
    assert "styles" not in saved(run, tmp_path / "older")


def test_the_example_code_runs(evaluated, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", saved(evaluated, tmp_path / "saved"), re.DOTALL)
    found = {}
    exec(code.replace("path/to/this/folder", str(tmp_path / "saved")), found)
    assert found["refined"].shape == found["images"].shape == (8, 1, 12, 16)
    assert not torch.equal(found["refined"], found["images"])


@pytest.mark.parametrize(
    ("weight", "shown"),
    [("12.50", "12.5 on "), ('"auto"', "lambda adapted to a displacement of 0.5 px at most, on ")],
)
def test_lambda_or_what_it_is_adapted_to(evaluated, tmp_path, weight, shown):
    run = shutil.copytree(evaluated, tmp_path / "run")
    config = re.sub(r"(?<=\[loss\]\nweight = ).*", weight, (run / "config.toml").read_text())
    (run / "config.toml").write_text(config)
    recipe = dict(rows(saved(run, tmp_path / "saved"), "Recipe")[1:])
    assert recipe["self-regularization"].startswith(shown)


def test_a_data_set_without_a_count_may_be_endless(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("count = 40", 'count = "none"'))
    assert rows(saved(run, tmp_path / "saved"), "Data")[1] == ["simulated", "discs", "all, or endless"]


def test_the_tables_hold_the_evaluation(evaluated, tmp_path):
    card = saved(evaluated, tmp_path / "saved")
    (found,) = read_evaluations(evaluated)
    for table in evaluation_tables(found):
        title, *cells = rows(card, table.title)
        assert title == list(table.columns)
        assert [[cell.replace("\\", "") for cell in row] for row in cells] == [list(row) for row in table.rows]
        assert all(note[:20] in card for note in table.notes)
    assert "`real`, trained on labelled real images, is the upper bound." in card and "fitted runs" not in card


def test_several_runs(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    found = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(json.dumps({**found, "runs": found["runs"] * 3}))
    card = saved(run, tmp_path / "saved")
    assert "3 fitted runs were evaluated; this refiner is one of them." in card


def test_an_evaluation_of_other_weights_is_left_out(evaluated, toy_run, tmp_path):
    run = shutil.copytree(toy_run, tmp_path / "run")
    assert "## Results\n\nNot evaluated:" in saved(run, tmp_path / "unevaluated")
    refine = Refine.load(evaluated)
    with torch.no_grad():
        next(refine.parameters()).add_(1)
    card = model_card(refine.about, refine.refiner)
    assert "Not evaluated:" in card and "px" not in card.partition("## Results")[2]


def test_an_evaluation_on_the_validation_split(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    found = json.loads((run / "evaluation.json").read_text())
    (run / "validation.json").write_text(json.dumps({**found, "split": "validation", "preservation": {}}))
    (run / "evaluation.json").unlink()
    card = saved(run, tmp_path / "saved")
    assert "## Results on the validation split" in card and "settings were chosen on this split" in card
    assert "the domain has no detector" in card
    (run / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"evaluation\.json: damaged"):
        saved(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_both_splits_give_errors_and_one_of_them_quality(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    found = json.loads((run / "evaluation.json").read_text())
    (run / "validation.json").write_text(json.dumps({**found, "split": "validation"}))
    (model,) = yaml.safe_load(saved(run, tmp_path / "saved").split("---\n")[1])["model-index"]
    assert [result["dataset"]["split"] for result in model["results"]] == ["test", "validation", "train"]


def test_a_licence_replaces_a_list_of_them(evaluated, tmp_path):
    card = saved(evaluated, tmp_path / "saved").replace("license: unknown\n", "license:\n- mit\n- apache-2.0\n")
    (tmp_path / "saved" / "README.md").write_text(card, encoding="utf-8")
    Refine.load(tmp_path / "saved").save_pretrained(tmp_path / "again", licence="bsd-3-clause")
    again = (tmp_path / "again" / "README.md").read_text(encoding="utf-8")
    found = yaml.safe_load(again.split("---\n")[1])
    assert found["license"] == "bsd-3-clause" and "mit" not in found["tags"]


def test_the_card_of_a_saved_folder_is_preserved(evaluated, tmp_path):
    first = saved(evaluated, tmp_path / "first")
    (tmp_path / "first" / "README.md").write_text(first + "\nMy own text.\n", encoding="utf-8")
    assert saved(tmp_path / "first", tmp_path / "second") == first + "\nMy own text.\n"
    (tmp_path / "first" / "README.md").write_text("# Somebody else's", encoding="utf-8")
    assert "Not evaluated:" in saved(tmp_path / "first", tmp_path / "third")


def test_markdown_is_escaped(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    config = (run / "config.toml").read_text()
    config = config.replace('recipe = "toy"', 'recipe = "a|b <script> *x*"').replace("a disc on grey", "a\\nb | c")
    (run / "config.toml").write_text(config)
    card = saved(run, tmp_path / "saved")
    assert r"# a\|b \<script\> \*x\*" in card and "Images: a b \\| c, 1 channel" in card
    assert rows(card, "Recipe")[1] == ["recipe", r"a\|b \<script\> \*x\*"]
