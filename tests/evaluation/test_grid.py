"""--over: how it is split, the meaning of on, off and bare names, and invalid input."""

from __future__ import annotations

import pytest
from quick import configured

from synthreal.errors import UserError
from synthreal.evaluation.grid import _difference, cells
from synthreal.hooks.resolve import resolve


@pytest.fixture
def base(toy):
    return resolve(
        configured(toy, 'discriminator={name="local", options={layers=[{maps=4, kernel=5, stride=2}]}}'), toy
    )


def values(base, toy, *over):
    return [cell.name for cell in cells(base, toy, over)]


def test_every_combination_the_last_setting_fastest(toy, base):
    assert values(base, toy, "history=on,off", "loss.weight=0.5, 2") == [
        "history=on, loss.weight=0.5",
        "history=on, loss.weight=2",
        "history=off, loss.weight=0.5",
        "history=off, loss.weight=2",
    ]


def test_on_is_the_value_of_the_recipe_and_off_is_none(toy, base):
    on, off = (cell.config for cell in cells(base, toy, ["history=on,off"]))
    assert on == base and on.history.size == 12
    assert off.history is None and off.model_copy(update={"history": base.history}) == base


def test_a_bare_name_selects_a_component_and_keeps_shared_options(toy, base):
    local, other = (cell.config for cell in cells(base, toy, ["discriminator=local,global"]))
    assert local == base
    assert other.discriminator.name == "global" and other.discriminator.options == base.discriminator.options
    (tint,) = (cell.config.refiner for cell in cells(base, toy, ["refiner=tint"]))
    assert tint.name == "tint" and tint.options == {}
    counted = {"name": "other", "count": base.data.real.count}
    assert _difference(base, toy, "data.real", "other") == [{"data": {"real": counted}}]  # the same budget
    psi = [cell.config.features[0].name for cell in cells(base, toy, ["features=identity,gradients"])]
    assert psi == ["identity", "gradients"]


def test_options_are_set_in_the_selected_component_in_any_order(toy, base):
    over = ["discriminator=local,global", "discriminator.options.layers=[{maps=6, kernel=3, stride=2}]"]
    for order in (over, over[::-1]):
        found = [cell.config.discriminator for cell in cells(base, toy, order)]
        assert [(one.name, one.options["layers"][0]["maps"]) for one in found] == [("local", 6), ("global", 6)]
    tables = [cell.config.history for cell in cells(base, toy, ["history={size=20},{size=30},off"])]
    assert [one and one.size for one in tables] == [20, 30, None]


def test_commas_within_brackets_and_quotes_do_not_split(toy, base):
    found = cells(
        base, toy, ['features=["identity", "gradients"],{name="blur", options={sigma=2.0}}', "optimizer.ema=off,0.9"]
    )
    assert [len(cell.config.features) for cell in found] == [2, 2, 1, 1]
    assert [cell.config.optimizer.ema for cell in found] == [None, 0.9, None, 0.9]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ([], "name what to vary: --over"),
        (["history"], "--over history: write it as dotted.key=value,value"),
        (["history=on,on"], "a value is listed twice"),
        (["history=on", "history=off"], "history is given twice"),
        (["history=on,off", "history.size=20,30"], r"history=off leaves no history\.size; vary history alone, with"),
        (["loss.weight=on,0.5"], r"loss\.weight=on and loss\.weight=0\.5 are the same configuration; leave one out"),
        (["features=[identity,gradients"], r"--over features: \[identity,gradients is not a TOML value; quote its"),
        (["histroy=on,off"], r"--over histroy=on: histroy: no such setting; did you mean history\?"),
        (["histroy=off"], r"--over histroy=off: histroy: no such setting; did you mean history\?"),
        (["loss.weight=heavy"], "--over loss.weight=heavy: loss.weight: Input should be a valid number"),
        (["discriminator=locl"], "locl"),
        (["runtime.resident_gib=on"], "it is off in the recipe; give a value"),
    ],
)
def test_invalid_input_is_an_error(toy, base, over, message):
    with pytest.raises(UserError, match=message):
        cells(base, toy, over)
