"""What a hook may return, and what is said about everything else."""

from __future__ import annotations

import re

import pytest

from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog

HEAD = """
import synthreal
from synthreal import *
from synthreal.config import *
from pydantic import BaseModel

IMAGE = ImageSpec(channels=1, height=4, width=4)
ANGLE = LabelSpec("angle", (1,), "rad")

def draw(options, n, generator):
    return None

def data(**change):
    return DatasetSpec(**{"name": "a", "role": "simulated", "image": IMAGE, "render": draw, **change})

def judge(**change):
    return EvaluatorSpec(**{"name": "e", "requires": (ANGLE,), "build": draw, "loss": draw, "metrics": draw,
                            "primary": "x", **change})
"""

CASES = {
    "datasets: return 'renders'": "synthreal_datasets() returns a str; return DatasetSpecs",
    "datasets: return ['renders']": "synthreal_datasets() gives a str; return DatasetSpecs",
    "datasets: return [ANGLE]": "gives a LabelSpec; return DatasetSpecs",
    "datasets: return None": "synthreal_datasets() returns a NoneType; return DatasetSpecs",
    "datasets: return data()": "return DatasetSpecs",
    "datasets: return [data(labels=ANGLE)]": "data set 'a': labels is LabelSpec(.*give a tuple of LabelSpecs",
    "datasets: return [data(image='needle')]": "data set 'a': image is 'needle'; give an ImageSpec",
    "datasets: return [data(options={})]": "data set 'a': options is {}; give a subclass of synthreal.Options",
    "datasets: return [data(render='draw')]": "data set 'a': read and render are functions, not 'draw'",
    "datasets: return [data(labels=(LabelSpec('b', 1, 'rad'),))]": "LabelSpec 'b': shape is 1; write it as (1,)",
    "evaluators: return [judge(requires=ANGLE)]": "evaluator 'e': requires is .*give a tuple of LabelSpecs",
    "evaluators: return [judge(options=3)]": "evaluator 'e': options is 3",
    "networks: return [NetworkSpec(name='n', part='generator', build=draw)]": "part 'generator' is not one of",
    "networks: return [NetworkSpec(name='n', part='refiner', build=draw, options=3)]": "network 'n': options is 3",
    "features: return [FeatureSpec(name='f', build=draw, options=3)]": "psi 'f': options is 3",
    "recipes: return []": "synthreal_recipes() returns a list; return a mapping of names to RunConfigs",
    "recipes: return {'r': {}}": "synthreal_recipes() gives a dict; return a mapping of names to RunConfigs",
    "recipes: return RunConfig(data=DataConfig(simulated='a', real='a'))": "return a mapping of names to RunConfigs",
    "recipes: return {'r': EvaluationConfig(image=40)}": "EvaluationConfig.image: no such setting; did you .*images",
}


@pytest.mark.parametrize("case", CASES)
def test_a_hook_that_gives_the_wrong_thing_is_told_in_one_line(tmp_path, case):
    kind, body = case.split(": ", 1)
    path = tmp_path / "domain.py"
    path.write_text(f"{HEAD}\n@synthreal.hookimpl\ndef synthreal_{kind}():\n    {body}\n")
    with pytest.raises(UserError) as error:
        Catalog.of([str(path)])
    assert "\n" not in str(error.value)
    pattern = ".*".join(re.escape(part) for part in CASES[case].split(".*"))
    assert re.search(pattern, str(error.value)), str(error.value)


def test_lists_will_do_for_tuples(tmp_path):
    path = tmp_path / "domain.py"
    body = "return [data(labels=[LabelSpec('b', [2, 3], 'rad')])]"
    path.write_text(f"{HEAD}\n@synthreal.hookimpl\ndef synthreal_datasets():\n    {body}\n")
    (label,) = Catalog.of([str(path)]).dataset("a", "simulated").labels
    assert label.shape == (2, 3)


def test_a_misspelt_hook_names_the_file(tmp_path):
    path = tmp_path / "domain.py"
    path.write_text("import synthreal\n\n@synthreal.hookimpl\ndef synthreal_dataset():\n    return []\n")
    with pytest.raises(UserError, match=r"domain\.py: unknown hook 'synthreal_dataset'; the hooks are") as error:
        Catalog.of([str(path)])
    assert "<module" not in str(error.value)
