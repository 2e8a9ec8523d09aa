"""Tables of all settings, generated from the pydantic models: setting, type, default, unit and sentence."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from units import OPTION_UNITS, UNITS, unit_of

from synthreal import Catalog, ImageSpec
from synthreal.config import RunConfig
from synthreal.spec import ROLES

PLUGINS = ("gaze", "hands", "signs")
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", type(None): "none"}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a table; ``numeric`` tells whether its values are numbers, which need a unit."""

    name: str
    type: str
    default: str
    unit: str
    sentence: str
    numeric: bool

    def row(self) -> str:
        """The row in Markdown."""
        words = (self.type, "" if self.unit == "1" else self.unit, self.sentence)
        kind, unit, sentence = (escape(word, quote=False).replace("|", "&#124;") for word in words)
        return f"| `{self.name}` | {kind} | {self.default} | {unit} | {sentence} |"


def page() -> str:
    """All tables as Markdown."""
    tables = [table(title, prose, settings) for title, prose, settings in (*sections(), *component_sections())]
    return "\n\n".join(tables)


def table(title: str, prose: str, settings: list[Setting]) -> str:
    """One section: its heading, a sentence and a row for each setting."""
    head = "| setting | type | default | unit | meaning |\n| --- | --- | --- | --- | --- |"
    return "\n".join([f"## {title}", "", prose, "", head, *(setting.row() for setting in settings)])


def sections() -> Iterator[tuple[str, str, list[Setting]]]:
    """Title, sentence and settings of every part of a ``RunConfig``."""
    top, nested = [], []
    for name, field in RunConfig.model_fields.items():
        models = list(models_of(field.annotation))
        if name == "image":
            nested.append((f"`{name}`", field.description or "", image_settings()))
        elif models:
            nested.append((f"`{name}`", f"{field.description} {_default_sentence(field)}", list(_nested(name, field))))
        else:
            top.append(setting(name, field))
    yield "The run", "Set by `--recipe` and `--plugin`.", top
    yield from nested


def _nested(name: str, field: FieldInfo) -> Iterator[Setting]:
    """The settings of all models that a field can hold, with models in them, by dotted name."""
    models = list(models_of(field.annotation))
    for model in models:
        choice = f"Of {model.model_fields['name'].default}: " if len(models) > 1 else ""
        for key, inner in model.model_fields.items():
            if not list(models_of(inner.annotation)):
                yield setting(f"{name}.{key}", inner, before=choice)
                continue
            yield setting(f"{name}.{key}", inner, default=_name_of(inner.default))
            if key not in (*ROLES, "evaluator"):  # components, whose options have tables of their own
                yield from _nested(f"{name}.{key}", inner)
    if name == "data":
        (source,) = models_of(models[0].model_fields["simulated"].annotation)
        yield from (setting(f"data.<role>.{key}", inner) for key, inner in source.model_fields.items())


def component_sections() -> Iterator[tuple[str, str, list[Setting]]]:
    """The options of every network, psi, data set and evaluator of the library and of its first-party plugins."""
    builtin = option_models(Catalog.of([]))
    for plugin in ("", *PLUGINS):
        found = option_models(Catalog.of([plugin])) if plugin else builtin
        for (prefix, name), model in found.items():
            if not model.model_fields or (plugin and (prefix, name) in builtin):
                continue
            units = {} if plugin else OPTION_UNITS
            rows = [setting(f"{prefix}.{field}", inner, units=units) for field, inner in _flat(model)]
            owner = f" ({plugin})" if plugin else ""
            yield f"`{prefix}` of `{name}`{owner}", first_paragraph(model.__doc__), rows


def option_models(catalog: Catalog) -> dict[tuple[str, str], type[BaseModel]]:
    """The options of every component, by the setting that holds them and the component's name."""
    found: dict[tuple[str, str], type[BaseModel]] = {}
    for (part, name), network in catalog.networks.items():
        found[f"{part}.options", name] = network.spec.options
    for name, feature in catalog.features.items():
        found["features.options", name] = feature.spec.options
    for (name, _), dataset in catalog.datasets.items():
        found["data.<role>.options", name] = dataset.spec.options
    for name, evaluator in catalog.evaluators.items():
        found["evaluation.evaluator.options", name] = evaluator.spec.options
    return found


def _flat(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """The fields of a model; a list of models, such as the layers of D, has a row for each of their fields, too."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for inner in models_of(field.annotation):
            yield from _flat(
                inner, f"{prefix}{name}[i]." if get_origin(field.annotation) is tuple else f"{prefix}{name}."
            )


def image_settings() -> list[Setting]:
    """The fields of an ``ImageSpec``, described by its docstring."""
    lines = dict(re.findall(r"^ {8}(\w+): (.*)$", ImageSpec.__doc__ or "", re.MULTILINE))
    rows = []
    for field in dataclasses.fields(ImageSpec):
        annotation = _resolved(field.type)
        default = "required" if field.default is dataclasses.MISSING else shown(field.default)
        unit = UNITS.get(field.name, "")
        rows.append(Setting(f"image.{field.name}", annotation, default, unit, _sentence(lines[field.name]), bool(unit)))
    return rows


def _resolved(annotation: Any) -> str:
    from synthreal import spec

    return type_text(eval(annotation, vars(spec)) if isinstance(annotation, str) else annotation)


def setting(
    name: str, field: FieldInfo, *, default: str | None = None, before: str = "", units: Mapping[str, str] = UNITS
) -> Setting:
    """The row of one field; ``before`` precedes its description."""
    text = type_text(field.annotation, field.metadata)
    if default is None:
        default = "required" if field.is_required() else shown(field.get_default(call_default_factory=True))
    numeric = bool(re.search(r"\b(integer|number)", text))
    sentence = before + _sentence(field.description or "")
    return Setting(name, text, default, unit_of(name, units) if numeric else "", sentence, numeric)


def type_text(annotation: Any, metadata: list[Any] | None = None) -> str:
    """A type in words, with its bounds: ``integer >= 1``, ``number in [0, 1] or auto``."""
    bounds = bounds_text(metadata or [])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0], [*arguments[1:], *(metadata or [])])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        found = [type_text(argument, metadata if argument in (int, float) else None) for argument in arguments]
        return " or ".join(dict.fromkeys(found))
    if origin in (tuple, list):
        return "list of " + type_text(next(argument for argument in arguments if argument is not Ellipsis))
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return TYPES.get(annotation, getattr(annotation, "__name__", str(annotation))) + bounds


def bounds_text(metadata: list[Any]) -> str:
    """Bounds of a number, in words."""
    flat = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    words = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "multiple of"}
    parts = [
        f"{word} {value:,}"
        for name, word in words.items()
        for item in flat
        if (value := getattr(item, name, None)) is not None
    ]
    return " " + ", ".join(parts) if parts else ""


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        if argument is not Ellipsis:
            yield from models_of(argument)


def shown(value: Any) -> str:
    """A default as it is written in TOML."""
    if value is None:
        return '`"none"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, BaseModel):
        return _name_of(value)
    if isinstance(value, tuple | list):
        return f"`{list(value)}`" if not value or not isinstance(value[0], BaseModel) else f"`{_inline(value)}`"
    if isinstance(value, str | Path):
        return f'`"{value}"`'
    return f"`{value}`" if value != {} else "`{}`"


def _name_of(value: Any) -> str:
    """A default that is a component or a table: the name, or what is in the table."""
    if value is None:
        return '`"none"`'
    if isinstance(value, tuple):
        return ", ".join(map(_name_of, value))
    name = getattr(value, "name", None)
    return f"`{name}`" if name else "see below" if isinstance(value, BaseModel) else "required"


def _inline(tables: Sequence[BaseModel]) -> str:
    """A list of tables as TOML writes it in one line."""
    rows = (table.model_dump(exclude_defaults=True) for table in tables)
    return f"[{', '.join('{' + ', '.join(f'{key}={value!r}' for key, value in row.items()) + '}' for row in rows)}]"


def _default_sentence(field: FieldInfo) -> str:
    default = field.default
    name = _name_of(default) if not field.is_required() else "required"
    return f"Default: {name}." if name.startswith("`") else ""


def first_paragraph(text: str | None) -> str:
    """The first paragraph of a docstring."""
    return " ".join((text or "").strip().partition("\n\n")[0].split())


def _sentence(text: str) -> str:
    """A description in one line that ends with a full stop."""
    text = " ".join(text.split())
    return text if not text or text.endswith(".") else f"{text}."
