"""What one plugin's hook returned, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

import synthreal.config as config
from synthreal.config import RunConfig
from synthreal.config.toml import describe_error
from synthreal.errors import UserError
from synthreal.spec import DatasetSpec, EvaluatorSpec, FeatureSpec, NetworkSpec

GIVES: Mapping[str, type] = {
    "datasets": DatasetSpec,
    "networks": NetworkSpec,
    "features": FeatureSpec,
    "evaluators": EvaluatorSpec,
    "recipes": RunConfig,
}


def validate_hook(plugin: Any, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """Pairs of key and spec that a plugin's hook of one kind returns; none without the hook.

    Args:
        plugin: the loaded module.
        kind: "datasets", "networks", "features", "evaluators" or "recipes".
        name: the plugin as the user knows it.

    Raises:
        UserError: the hook returned something else, or a recipe with a setting that is none.
    """
    hook = getattr(plugin, f"synthreal_{kind}", None)
    if hook is None:
        return
    where = f"plugin {name}: synthreal_{kind}()"
    wanted = "a mapping of names to RunConfigs" if kind == "recipes" else f"{GIVES[kind].__name__}s"
    try:
        given = hook()
        if given is None or isinstance(given, BaseModel | str) or isinstance(given, Mapping) != (kind == "recipes"):
            raise UserError(f"{where} returns a {type(given).__name__}; return {wanted}")
        found = list(given)
    except ValidationError as error:
        model = getattr(config, error.title, BaseModel)
        raise UserError(f"{where}: {describe_error(error, model, error.title)}") from error
    except TypeError as error:
        raise UserError(f"{where}: {error}; return {wanted}") from error
    for item in found:
        spec = given[item] if isinstance(given, Mapping) else item
        if not isinstance(spec, GIVES[kind]):
            raise UserError(f"{where} gives a {type(spec).__name__}; return {wanted}")
        yield _key(item, spec), spec


def _key(item: Any, spec: Any) -> Any:
    if isinstance(spec, RunConfig):
        return item
    if isinstance(spec, DatasetSpec):
        return spec.name, spec.role
    return (spec.part, spec.name) if isinstance(spec, NetworkSpec) else spec.name
