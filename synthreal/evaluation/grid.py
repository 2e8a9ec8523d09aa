"""The configurations of an ablation: every combination of the values of some settings."""

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

NAME = re.compile(r"[A-Za-z][\w-]*")
OFF = ("off", NONE)
CLOSING = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True)
class Cell:
    """One combination: the values of the varied settings as typed, and the configuration."""

    values: Mapping[str, str]
    config: ResolvedConfig

    @property
    def name(self) -> str:
        """For example ``history=off, discriminator=global``."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items())


def cells(config: ResolvedConfig, catalog: Catalog, over: Sequence[str]) -> list[Cell]:
    """Every combination; the last setting varies fastest.

    An element of ``over`` is ``dotted.key=value,value,...``, split at commas outside brackets and quotes. ``off`` is
    none, ``on`` the value of ``config``. A bare name for a component selects the component of that name and keeps the
    options if both accept the same ones. Other values are TOML, or strings.
    """
    if not over:
        raise UserError("name what to vary: --over dotted.key=value,value")
    axes = [_parse_axis(text) for text in over]
    keys = [key for key, _ in axes]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise UserError(f"--over: {repeated[0]} is given twice; list its values once")
    found: list[Cell] = []
    for combination in product(*(values for _, values in axes)):
        values, changed = dict(zip(keys, combination, strict=True)), config
        for key in sorted(keys, key=lambda key: key.count(".")):  # a component before its options
            if off := [other for other, value in values.items() if key.startswith(f"{other}.") and value in OFF]:
                conflict = f"{off[0]}={values[off[0]]} leaves no {key}"  # setting the key would turn it on again
                raise UserError(f"--over: {conflict}; vary {off[0]} alone, with tables as its values")
            changes = _difference(config, catalog, key, values[key])
            changed = changed.changed(*changes, source=f"--over {key}={values[key]}")
        cell = Cell(values, resolve(changed, catalog))
        if twin := next((other for other in found if other.config == cell.config), None):
            raise UserError(f"--over: {twin.name} and {cell.name} are the same configuration; leave one out")
        found.append(cell)
    return found


def _parse_axis(text: str) -> tuple[str, list[str]]:
    key, equals, listed = text.partition("=")
    values = _split(listed)
    if not equals or not key.strip() or not all(values):
        raise UserError(f"--over {text}: write it as dotted.key=value,value, for example history=on,off")
    if len(set(values)) < len(values):
        raise UserError(f"--over {text}: a value is listed twice")
    return key.strip(), values


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, closing, quote = [""], "", ""
    for character in text:
        if character == "," and not closing and not quote:
            parts.append("")
            continue
        parts[-1] += character
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in CLOSING:
            closing += CLOSING[character]
        else:
            closing = closing.removesuffix(character)
    return [part.strip() for part in parts]


def _difference(config: ResolvedConfig, catalog: Catalog, key: str, value: str) -> Sequence[Mapping[str, Any]]:
    """The differences that set ``key`` to a value as typed."""
    current: Any = config.tree()
    for part in key.split("."):
        current = current.get(part) if isinstance(current, Mapping) else None
    if value == "on" and current is not None:
        return []
    if value == "on":
        config.changed(*parse_settings([f"{key}=none"]), source=f"--over {key}=on")  # raises for an unknown setting
        raise UserError(f"--over {key}=on: it is off in the recipe; give a value")
    if value == "off":
        return parse_settings([f"{key}=none"])
    if isinstance(current, Mapping) and "name" in current and NAME.fullmatch(value):
        component: dict[str, Any] = {"name": value, **({"count": current["count"]} if current.get("count") else {})}
        if key in PARTS:
            before, after = (catalog.network(key, name) for name in (current["name"], value))
            component |= {"options": current["options"]} if before.options is after.options else {}
        for part in reversed(key.split(".")):
            component = {part: component}
        return [component]
    return parse_settings([f"{key}={value}"], option="--over")
