"""Settings as text: TOML and --set, tables laid over each other, errors as one phrase."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from synthreal.config import RunConfig
from synthreal.config.toml import describe_error, from_none, merge, parse_settings, parse_toml, read_toml, to_none
from synthreal.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", {"a": 1}),
        ("a.b.c=1.5", {"a": {"b": {"c": 1.5}}}),
        ("a=true", {"a": True}),
        ("a=word", {"a": "word"}),
        ("a=my/crops", {"a": "my/crops"}),
        ("a= spaced ", {"a": "spaced"}),
        ("a=key=value", {"a": "key=value"}),
        ('a="quoted"', {"a": "quoted"}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ('a={name="x", options={root="y"}}', {"a": {"name": "x", "options": {"root": "y"}}}),
        (" a . b =1", {"a": {"b": 1}}),
        ("a=", {"a": ""}),
        ("a=1e-3", {"a": 0.001}),
        ("a=0.1.2", {"a": "0.1.2"}),
    ],
)
def test_a_setting_is_toml_and_else_a_string(text, value):
    assert parse_settings([text]) == [value]


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", ".a=1", "a.=1"])
def test_a_setting_without_a_key_says_how_to_write_it(text):
    with pytest.raises(UserError, match=r"write it as dotted\.key=value"):
        parse_settings([text])


@pytest.mark.parametrize("text", ["a={name=x}", "a=[1, x]", "a={", 'a={name="x"'])
def test_a_broken_table_is_not_taken_for_a_string(text):
    with pytest.raises(UserError, match=r"--set a: .* is not a TOML value; quote its strings"):
        parse_settings([text])


def test_tables_merge_and_another_name_replaces_its_table():
    base = {"name": "adam", "rate": 1, "deep": {"a": 1, "b": 2}, "list": [1, 2]}
    assert merge(base, {"rate": 2, "deep": {"b": 3}, "list": [5]}) == {
        "name": "adam", "rate": 2, "deep": {"a": 1, "b": 3}, "list": [5],
    }  # fmt: skip
    assert merge(base, {"name": "sgd"}) == {"name": "sgd"}
    assert merge(base, {"name": "adam", "rate": 9})["deep"] == {"a": 1, "b": 2}
    assert merge(None, {"a": 1}) == {"a": 1}
    assert merge({"a": 1}, None) is None
    assert base["deep"] == {"a": 1, "b": 2}  # nothing is changed in place


def test_none_travels_as_a_word():
    tree = {"a": None, "b": [None, {"c": None}], "d": "nonesuch", "e": 0}
    written = to_none(tree)
    assert written == {"a": "none", "b": ["none", {"c": "none"}], "d": "nonesuch", "e": 0}
    assert from_none(written) == tree


def test_files_that_are_not_toml_are_named(tmp_path):
    with pytest.raises(UserError, match=r"missing\.toml: cannot read"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(UserError, match="cannot read this configuration"):
        read_toml(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"bytes\.toml: cannot read"):
        read_toml(tmp_path / "bytes.toml")
    (tmp_path / "a.toml").write_text("a = ")
    with pytest.raises(UserError, match=r"a\.toml: not TOML \(.*\); correct it there"):
        read_toml(tmp_path / "a.toml")
    assert parse_toml("a = 1", source="x") == {"a": 1}


@pytest.mark.parametrize(
    ("tree", "phrase"),
    [
        ({"schedule": {"stps": 1}}, "schedule.stps: no such setting; did you mean schedule.steps?"),
        ({"loss": {"zzz": 1}}, "loss.zzz: no such setting; known here: weight"),
        ({"sched": {}}, "sched: no such setting; did you mean schedule?"),
        ({"data": {"simulated": "a"}}, "data.real: missing; set it"),
        ({"data": {"simulated": "a", "rael": "b"}}, "data.rael: no such setting; did you mean data.real? (and 1 more)"),
        ({"refiner": {"name": "x", "optons": {}}}, "refiner.optons: no such setting; did you mean refiner.options?"),
        ({"schedule": {"steps": -1}}, "schedule.steps: Input should be greater than or equal to 0, got -1"),
        ({"schedule": {"batch": 7}}, "schedule.batch: Input should be a multiple of 2, got 7"),
        ({"loss": {"weight": float("nan")}}, "loss.weight: Input should be a finite number, got nan"),
        (
            {"schedule": {"batch": "many"}},
            "schedule.batch: Input should be a valid integer, unable to parse string as an integer, got 'many'",
        ),
        (
            {"optimizer": {"refiner": {"name": "adam", "momentum": 1}}},
            "optimizer.refiner.momentum: no such setting; known here: name, learning_rate, beta1, beta2",
        ),
        (
            {"optimizer": {"refiner": {"name": "sgd", "momentm": 1, "learning_rate": 1}}},
            "optimizer.refiner.momentm: no such setting; did you mean optimizer.refiner.momentum?",
        ),
        ({"optimizer": {"refiner": {"name": "sgd"}}}, "optimizer.refiner.learning_rate: missing; set it"),
        ({"features": []}, "features: Tuple should have at least 1 item after validation, not 0, got []"),
        (
            {"features": [{"name": "blur", "wieght": 2}]},
            "features.0.wieght: no such setting; did you mean features.0.weight?",
        ),
        (
            {"image": {"channels": 1, "height": 3, "widht": 3}},
            "image.widht: no such setting; did you mean image.width? (and 1 more)",
        ),
        (
            {"loss": {"weight": -1}, "schedule": {"batch": 7, "steps": -1}},
            "loss.weight: Input should be greater than or equal to 0, got -1 (and 2 more)",
        ),
        (
            {"runtime": {"compile": "sometimes"}},
            "runtime.compile: Input should be 'auto' or a valid boolean, unable to interpret input, got 'sometimes'",
        ),
        (
            {"runtime": {"micro_batch": 0}, "loss": {"weight": -1}},
            "loss.weight: Input should be greater than or equal to 0, got -1 (and 1 more)",
        ),
        (
            {"runtime": {"micro_batch": 0}},
            "runtime.micro_batch: Input should be greater than or equal to 1 or 'auto', got 0",
        ),
    ],
)
def test_a_validation_error_is_one_phrase_with_the_dotted_path(tree, phrase):
    tree = {"data": {"simulated": "a", "real": "b"}, **tree}
    with pytest.raises(ValidationError) as error:
        RunConfig.model_validate(tree)
    assert describe_error(error.value, RunConfig) == phrase
