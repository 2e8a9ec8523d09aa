"""Settings as text: TOML and --set, tables laid over each other, errors as one phrase."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from synthreal.config import RunConfig
from synthreal.config.toml import describe_error, from_none, merge, parse_settings, parse_toml, read_toml, to_none
from synthreal.errors import UserError
from synthreal.spec import Options


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b.c=1.5", {"a": {"b": {"c": 1.5}}}),
        ("a=my/crops", {"a": "my/crops"}),
        ("a= spaced ", {"a": "spaced"}),
        ("a=key=value", {"a": "key=value"}),
        ('a="quoted"', {"a": "quoted"}),
        ('a={name="x", options={root="y"}}', {"a": {"name": "x", "options": {"root": "y"}}}),
        (" a . b =1", {"a": {"b": 1}}),
        ("a=", {"a": ""}),
        ("a=0.1.2", {"a": "0.1.2"}),
    ],
)
def test_a_value_is_parsed_as_toml_or_else_as_a_string(text, value):
    assert parse_settings([text]) == [value]


def test_a_setting_without_a_valid_key_is_refused():
    for text in ("a", "=1", "a..b=1", ".a=1", "a.=1"):
        with pytest.raises(UserError, match=rf"--set {text}: .*dotted\.key=value"):
            parse_settings([text])


def test_a_malformed_table_or_list_is_refused_and_not_read_as_a_string():
    for value in ("{name=x}", "[1, x]", "{", '{name="x"'):
        with pytest.raises(UserError, match="--set a: ") as error:
            parse_settings([f"a={value}"])
        assert value in str(error.value)


def test_tables_are_merged_and_a_table_with_another_name_is_replaced():
    base = {"name": "adam", "rate": 1, "deep": {"a": 1, "b": 2}, "list": [1, 2]}
    assert merge(base, {"rate": 2, "deep": {"b": 3}, "list": [5]}) == {
        "name": "adam", "rate": 2, "deep": {"a": 1, "b": 3}, "list": [5],
    }  # fmt: skip
    assert merge(base, {"name": "sgd"}) == {"name": "sgd"}
    assert merge(base, {"name": "adam", "rate": 9})["deep"] == {"a": 1, "b": 2}
    assert merge(None, {"a": 1}) == {"a": 1}
    assert merge("sgd", {"rate": 2}) == {"name": "sgd", "rate": 2}
    assert merge("sgd", {"name": "adam"}) == {"name": "adam"}
    assert merge({"a": 1}, None) is None
    assert base["deep"] == {"a": 1, "b": 2}  # the arguments are not modified


def test_none_is_written_as_a_word_and_read_back():
    tree = {"a": None, "b": [None, {"c": None}], "d": "nonesuch", "e": 0}
    written = to_none(tree)
    assert written == {"a": "none", "b": ["none", {"c": "none"}], "d": "nonesuch", "e": 0}
    assert from_none(written) == tree


def test_missing_and_malformed_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"missing\.toml: cannot read"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(UserError, match=tmp_path.name):
        read_toml(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"bytes\.toml: cannot read"):
        read_toml(tmp_path / "bytes.toml")
    (tmp_path / "a.toml").write_text("a = ")
    with pytest.raises(UserError, match=r"a\.toml: not TOML"):
        read_toml(tmp_path / "a.toml")
    assert parse_toml("a = 1", source="x") == {"a": 1}


@pytest.mark.parametrize(
    ("tree", "phrase"),
    [
        ({"schedule": {"stps": 1}}, "schedule.stps: no such setting; did you mean schedule.steps?"),
        ({"loss": {"zzz": 1}}, "loss.zzz: no such setting; known here: weight, drift_px, initial_weight"),
        ({"sched": {}}, "sched: no such setting; did you mean schedule?"),
        ({"data": {"simulated": "a"}}, "data.real: missing; set it"),
        ({"data": {"simulated": "a", "rael": "b"}}, "data.rael: no such setting; did you mean data.real? (and 1 more)"),
        ({"schedule": {"batch": 7}}, "schedule.batch: Input should be a multiple of 2, got 7"),
        ({"loss": {"weight": float("nan")}}, "loss.weight: Input should be a finite number or 'auto', got nan"),
        (
            {"optimizer": {"refiner": {"name": "adam", "momentum": 1}}},
            "optimizer.refiner.momentum: no such setting; known here: name, learning_rate, beta1, beta2",
        ),
        ({"optimizer": {"refiner": {"name": "sgd"}}}, "optimizer.refiner.learning_rate: missing; set it"),
        (
            {"optimizer": {"refiner": "sgdd"}},
            "optimizer.refiner.name: unknown name 'sgdd'; choose one of 'sgd', 'adam'",
        ),
        ({"optimizer": {"refiner": 3}}, "optimizer.refiner: Input should be a table, got 3"),
        ({"refiner": 3}, "refiner: Input should be a table, got 3"),
        ({"features": []}, "features: Tuple should have at least 1 item after validation, not 0, got []"),
        (
            {"features": [{"name": "blur", "wieght": 2}]},
            "features.0.wieght: no such setting; did you mean features.0.weight?",
        ),
        (
            {"loss": {"weight": -1}, "schedule": {"batch": 7, "steps": -1}},
            "loss.weight: Input should be greater than or equal to 0 or 'auto', got -1 (and 2 more)",
        ),
        (
            {"runtime": {"compile": "sometimes"}},
            "runtime.compile: Input should be 'auto' or a valid boolean, unable to interpret input, got 'sometimes'",
        ),
        (
            {"runtime": {"micro_batch": 0}},
            "runtime.micro_batch: Input should be greater than or equal to 1 or 'auto', got 0",
        ),
    ],
)
def test_a_validation_error_becomes_one_phrase_with_the_dotted_path(tree, phrase):
    tree = {"data": {"simulated": "a", "real": "b"}, **tree}
    with pytest.raises(ValidationError) as error:
        RunConfig.model_validate(tree)
    assert describe_error(error.value, RunConfig) == phrase


class Square(Options):
    shape: Literal["square"] = "square"
    side: int


class Circle(Options):
    shape: Literal["circle"] = "circle"
    radius: int


class Drawing(Options):
    """Options of a plugin, with a union that another field than ``name`` decides."""

    figures: list[Annotated[Square | Circle, Field(discriminator="shape")]]


@pytest.mark.parametrize(
    ("figure", "phrase"),
    [
        ({"shape": "cube"}, "a.figures.0.shape: unknown shape 'cube'; choose one of 'square', 'circle'"),
        ({"shape": "circle"}, "a.figures.0.radius: missing; set it"),
        ({"shape": "circle", "radus": 2}, "a.figures.0.radus: no such setting; did you mean a.figures.0.radius?"),
    ],
)
def test_the_models_of_any_union_are_known(figure, phrase):
    with pytest.raises(ValidationError) as error:
        Drawing.model_validate({"figures": [figure]})
    assert describe_error(error.value, Drawing, "a").removesuffix(" (and 1 more)") == phrase


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 5000, "in one another"),
        ("a = " + "{a = " * 5000, "in one another"),
        ("a = " + "[" * 40 + "]" * 40, "in one another"),
        ("[a" + ".a" * 40 + "]", "parts"),
        ("a" + ". 'b c' " * 40 + "= 1", "parts"),
        ("a = " + "9" * 5000, "64 bits"),
        ("a = [{b = 9223372036854775808}]", "64 bits"),
        ("a = '" + "x" * 70_000 + "'", "65,536 characters"),
    ],
)
def test_toml_beyond_the_bounds_is_refused_in_one_line(text, reason, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(text)
    for read in (lambda: parse_toml(text, source="config.toml"), lambda: read_toml(path)):
        with pytest.raises(UserError, match=rf"config\.toml: not TOML \(.*{reason}"):
            read()


def test_a_long_key_is_refused_at_once():
    """The time of tomllib is quadratic in the parts of a key: half a minute for these."""
    start = time.perf_counter()
    with pytest.raises(UserError, match="parts"):
        parse_toml("a" + ".a" * 30_000 + " = 1", source="config")
    with pytest.raises(UserError, match=r"--set a\.a.* parts"):
        parse_settings(["a" + ".a" * 30_000 + "=1"])
    assert time.perf_counter() - start < 5


def test_settings_beyond_the_bounds_are_refused():
    for value in ("9" * 5000, "9" * 30, "[" * 5000):
        with pytest.raises(UserError, match="--set a: "):
            parse_settings([f"a={value}"])
    assert parse_settings(["a=9223372036854775807", f"b=x{'.1' * 20}"])[0] == {"a": 2**63 - 1}


def test_settings_that_are_not_utf_8_are_refused():
    """Python passes such bytes of the command line as surrogates, which config.toml cannot hold."""
    for value in ("\udcff", '{meaning="\udcff"}'):
        with pytest.raises(UserError, match="--set image: it is not UTF-8"):
            parse_settings([f"image={value}"])


def test_a_configuration_without_end_is_refused():
    with pytest.raises(UserError, match=r"/dev/zero: not TOML"):
        read_toml(Path("/dev/zero"))
