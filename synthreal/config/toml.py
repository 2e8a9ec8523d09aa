"""Nested settings as text: TOML, ``--set`` strings, merging, and validation errors in one line.

TOML has no null: None is written and read as the string ``"none"``.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synthreal.errors import UserError

NONE = "none"
BRANCH = re.compile(r"literal\[.*\]|constrained-\w+|bool|int|float|str")  # ends the path of a union of plain values
LARGEST_TEXT = 1 << 16  # characters; a configuration of all settings has 4,000
DEEPEST = 32  # tables and lists in one another
# A key of so many parts that tomllib, whose time is quadratic in them, would seem to hang.
LONG_KEY = re.compile(rf"""(?:\s*\.\s*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')){{{DEEPEST}}}""")
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
NO_TABLE = ("dict_type", "model_type", "model_attributes_type", "dataclass_type")


def parse_toml(text: str, *, source: str) -> dict[str, Any]:
    """Parse TOML. Raises ``UserError`` naming ``source``."""
    try:
        return _loads(text)
    except ValueError as error:
        raise UserError(f"{source}: not TOML ({error}); correct it there") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file. Raises ``UserError`` if it is missing or malformed."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_TEXT + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read this configuration ({error}); give a TOML file") from None
    return parse_toml(text, source=str(path))


def parse_settings(settings: Iterable[str], *, option: str = "--set") -> list[dict[str, Any]]:
    """Parse ``dotted.key=value`` strings to nested differences. A value is TOML or, if that fails, a string."""
    parsed = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise UserError(f"{option} {setting}: write it as dotted.key=value, for example schedule.steps=100")
        try:
            value = _loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            if text.lstrip()[:1] in ("{", "["):
                raise UserError(f"{option} {key}: {text} is not a TOML value; quote its strings") from None
            value = text.strip()
        except ValueError as error:
            raise UserError(f"{option} {key}: {error}; correct the value") from None
        if len(parts) > DEEPEST:
            raise UserError(f"{option} {key}: no such setting; a key has {DEEPEST} parts at most")
        for part in reversed(parts):
            value = {part: value}
        parsed.append(value)
    return parsed


def _loads(text: str) -> dict[str, Any]:
    """``tomllib.loads`` within the bounds above; integers have 64 bits, as TOML says. Raises ``ValueError``."""
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"it has more than {LARGEST_TEXT:,} characters")
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of the command line, which config.toml cannot hold
        raise ValueError("it is not UTF-8") from None
    if LONG_KEY.search(text):
        raise ValueError(f"a key has more than {DEEPEST} parts")
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"more than {DEEPEST} tables and lists in one another") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # of Python, about the digits of a number
        raise ValueError("an integer has more than 64 bits") from None
    _check_bounds(tree)
    return tree


def _check_bounds(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} tables and lists in one another")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("an integer has more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_bounds(item, depth + 1)


def merge(base: Any, difference: Any) -> Any:
    """Merge ``difference`` into ``base``; a table with another component ``name`` replaces the whole table.

    A bare name in ``base`` is the table of a component with that name.
    """
    if isinstance(base, str) and isinstance(difference, Mapping):
        base = {"name": base}
    if not isinstance(base, Mapping) or not isinstance(difference, Mapping):
        return difference
    if "name" in difference and difference["name"] != base.get("name"):
        return difference
    return {**base, **{key: merge(base.get(key), value) for key, value in difference.items()}}


def describe_error(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """The first problem of a pydantic error as one phrase: dotted path, problem, and the closest known key.

    Unknown keys come before missing ones, which they may be misspellings of. Errors of a table caused by its parts are
    not counted, and the alternatives of a union count as one problem. A table that matches no model of a union is a
    problem of the field that chooses the model, such as ``name``.
    """
    first, *rest = sorted(error.errors(include_url=False), key=lambda found: found["type"] not in UNKNOWN)
    place = _place(first)
    same = [found["msg"].removeprefix("Input should be ") for found in rest if _place(found) == place != found["loc"]]
    others = {_place(found) for found in rest if _place(found) != place[: len(_place(found))]}
    more = f" (and {len(others)} more)" if others else ""
    path, _ = _walk(model, place)
    dotted = ".".join(([prefix] if prefix else []) + path) or "configuration"
    if first["type"] in UNKNOWN:
        known = _fields(_walk(model, place[:-1])[1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        owner = dotted[: dotted.rfind(".") + 1]
        meant = f"did you mean {owner}{near[0]}?" if near else f"known here: {', '.join(known) or 'none'}"
        return f"{dotted}: no such setting; {meant}{more}"
    if first["type"] == "missing":
        return f"{dotted}: missing; set it{more}"
    if first["type"] == "union_tag_invalid":
        context = first["ctx"]
        key = context["discriminator"].strip("'")
        return f"{dotted}.{key}: unknown {key} {context['tag']!r}; choose one of {context['expected_tags']}{more}"
    wrong = "Input should be a table" if first["type"] in NO_TABLE else first["msg"].removeprefix("Value error, ")
    return f"{dotted}: {' or '.join([wrong, *same])}, got {first['input']!r}{more}"


def _place(found: ErrorDetails) -> tuple[int | str, ...]:
    """The path of an error, without the branch of a union of plain values."""
    loc = found["loc"]
    branch = loc and found["type"] not in UNKNOWN and isinstance(loc[-1], str) and BRANCH.fullmatch(loc[-1])
    return loc[:-1] if branch else loc


def _walk(model: Any, path: Sequence[str | int]) -> tuple[list[str], list[Any]]:
    """The parts of an error's path that are settings or indices, and the models possible at its end."""
    parts, models = [], [model]
    for part in path:
        if len(models) > 1 and isinstance(part, str):  # the tag of a union's model, which pydantic inserts
            models = [known for known in models if part in [field.default for field in known.model_fields.values()]]
            continue
        parts.append(str(part))
        if isinstance(part, str):  # an index leads to the models of the list
            fields = [known.model_fields[part] for known in models if part in getattr(known, "model_fields", {})]
            models = [found for field in fields for found in _models(field.annotation)]
    return parts, models


def _fields(models: Iterable[Any]) -> list[str]:
    """Names of the settings of models."""
    known = [getattr(model, "model_fields", getattr(model, "__dataclass_fields__", {})) for model in models]
    return list(dict.fromkeys(chain(*known)))


def _models(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models(part)]


def to_none(value: Any) -> Any:
    """Replace None by "none" everywhere in a nested value."""
    return _replace(value, None, NONE)


def from_none(value: Any) -> Any:
    """Replace "none" by None everywhere in a nested value."""
    return _replace(value, NONE, None)


def _replace(value: Any, before: Any, after: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _replace(item, before, after) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace(item, before, after) for item in value]
    return after if type(value) is type(before) and value == before else value
