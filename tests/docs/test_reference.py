"""The generated reference: every setting and every command, as the code defines them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import typer

import synthreal
from synthreal.cli import app
from synthreal.config import SGDConfig

GENERATE = Path(__file__).resolve().parents[2] / "docs/generate"


@pytest.fixture(scope="module")
def settings():
    return imported("settings")


def imported(name):
    sys.path.insert(0, str(GENERATE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(GENERATE))


def rows(settings):
    return [row for _, _, found in settings.sections() for row in found]


def leaves(tree, path=""):
    """Dotted names of all settings in a tree; the items of a list share one."""
    if isinstance(tree, dict) and tree and not path.endswith(".options"):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, list | tuple) and tree and isinstance(tree[0], dict):
        yield from leaves(tree[0], path)
    else:
        yield path


@pytest.mark.parametrize("plugin", ["gaze", "hands", "signs"])
def test_every_setting_of_a_recipe_has_a_row(settings, plugin):
    catalog = synthreal.Catalog.of([plugin])
    names = {row.name for row in rows(settings)}
    for name in leaves(synthreal.configure(catalog).tree()):
        name = re.sub(r"^data\.\w+\.", "data.<role>.", name)
        name = re.sub(r"\.evaluator\..*", ".evaluator", name)  # a component, whose name and options are as of any other
        assert name in names, name


def test_every_row_has_a_sentence_and_every_number_of_a_run_a_unit(settings):
    for row in rows(settings):
        assert row.sentence.endswith(".") and row.type and row.default, row.name
        assert bool(row.unit) == row.numeric, f"{row.name}: add its unit to UNITS in docs/generate/units.py"
    for _, _, options in settings.component_sections():
        assert all(row.sentence.endswith(".") for row in options)


def test_types_bounds_and_defaults_are_those_of_the_models(settings):
    found = {row.name: row for row in rows(settings) if not row.sentence.startswith("Of sgd")}
    batch = found["schedule.batch"]
    assert (batch.type, batch.default, batch.unit) == ("integer >= 2, multiple of 2", "`32`", "images")
    assert found["loss.weight"].type == "number >= 0 or `auto`"
    assert found["schedule.patch"].default == '`"none"`'
    rate = settings.setting("optimizer.refiner.learning_rate", SGDConfig.model_fields["learning_rate"])
    assert rate.default == "required"


@pytest.mark.parametrize("name", ["settings", "commands"])
def test_tables_have_no_cell_or_tag_by_accident(name):
    page = imported(name).page()
    tables = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    columns = {len(re.sub(r"`[^`]*`", "", line).split("|")) for line in tables}
    assert len(columns) == 1
    assert not re.search(r"<\w", re.sub(r"`[^`]*`", "", page))


def test_options_of_components_have_tables(settings):
    titles = [title for title, _, _ in settings.component_sections()]
    assert "`refiner.options` of `resnet`" in titles and "`data.<role>.options` of `gtsrb` (signs)" in titles
    assert len(titles) == len(set(titles))


def test_every_option_of_every_command_is_on_its_page():
    page = imported("commands").page()
    for name, command in typer.main.get_command(app).commands.items():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert section
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in section, (name, parameter.opts)
