"""Configurations that differ in what is asked for: every combination of the values of some settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from synthreal.config import ResolvedConfig
from synthreal.config.toml import NONE, parse_settings
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.spec import PARTS

BARE = re.compile(r"[A-Za-z][\w-]*")
CLOSING = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Cell:
    """One combination: the values as they were typed, by setting, and the configuration."""

    values: Mapping[str, str]
    config: ResolvedConfig

    @property
    def name(self) -> str:
        """``history=off, discriminator=global``."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items())


def cells(config: ResolvedConfig, catalog: Catalog, over: Sequence[str]) -> list[Cell]:
    """Every combination, the last setting changing fastest.

    Args:
        config: a resolved configuration, whose values ``on`` stands for.
        catalog: where components are looked up.
        over: ``dotted.key=value,value,...``, split at commas outside brackets and quotes. ``off`` is none, ``on`` the
            configuration's own value; a bare name under a component's key selects the component of that name, which
            keeps the options where both take the same ones. Other values are TOML, or strings.

    Raises:
        UserError: no setting of that name, a value it cannot have, a setting or a value given twice.
    """
    axes = [_axis(text) for text in over]
    keys = [key for key, _ in axes]
    if not axes:
        raise UserError("name what to vary: --over dotted.key=value,value")
    if len(set(keys)) < len(keys):
        raise UserError(
            f"--over: {next(key for key in keys if keys.count(key) > 1)} is given twice; list its values once"
        )
    found: list[Cell] = []
    for combination in product(*(values for _, values in axes)):
        values = dict(zip(keys, combination, strict=True))
        changed = config
        for key in sorted(keys, key=lambda key: key.count(".")):  # a table, then what lies in it
            _refuse_within_off(key, values)
            difference = _difference(config, catalog, key, values[key])
            changed = changed.changed(*difference, source=f"--over {key}={values[key]}")
        cell = Cell(values, resolve(changed, catalog))
        if twin := next((other for other in found if other.config == cell.config), None):
            raise UserError(f"--over: {twin.name} and {cell.name} are the same configuration; leave one out")
        found.append(cell)
    return found


def _refuse_within_off(key: str, values: Mapping[str, str]) -> None:
    """Setting a part of what is off would turn it on again."""
    for other, value in values.items():
        if key.startswith(f"{other}.") and value in ("off", NONE):
            raise UserError(f"--over: {other}={value} leaves no {key}; vary {other} alone, with tables as its values")


def _axis(text: str) -> tuple[str, list[str]]:
    key, equals, listed = text.partition("=")
    values = _split(listed)
    if not equals or not key.strip() or not all(values):
        raise UserError(f"--over {text}: write it as dotted.key=value,value, for example history=on,off")
    if len(set(values)) < len(values):
        raise UserError(f"--over {text}: a value is listed twice")
    return key.strip(), values


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes."""
    parts, closing, quote = [""], "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in CLOSING:
            closing += CLOSING[character]
        elif closing and character == closing[-1]:
            closing = closing[:-1]
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _difference(config: ResolvedConfig, catalog: Catalog, key: str, value: str) -> Sequence[Mapping[str, Any]]:
    now = _value(config.tree(), key)
    if value == "on":
        if now is None:
            config.changed(*parse_settings([f"{key}=none"]), source=f"--over {key}=on")  # raises for no such setting
            raise UserError(f"--over {key}=on: it is off in the recipe; give a value")
        return []
    if value == "off":
        return parse_settings([f"{key}=none"])
    if isinstance(now, Mapping) and "name" in now and BARE.fullmatch(value):
        component: dict[str, Any] = {"name": value, **({"count": now["count"]} if now.get("count") else {})}
        if key in PARTS:
            before, after = (catalog.network(key, name) for name in (now["name"], value))
            component |= {"options": now["options"]} if before.options is after.options else {}
        for part in reversed(key.split(".")):
            component = {part: component}
        return [component]
    return parse_settings([f"{key}={value}"], option="--over")


def _value(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
