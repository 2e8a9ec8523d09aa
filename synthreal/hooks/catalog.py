"""An immutable catalog of everything the named plugins offer, and from names in a configuration to specs."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from synthreal.config import ComponentConfig, RunConfig
from synthreal.config.toml import describe_error
from synthreal.errors import UserError
from synthreal.hooks.discovery import BUILTIN, HOOKS, Origin, available, origin_of, plugin_manager, version_of
from synthreal.hooks.validate import validate_hook
from synthreal.spec import DatasetSpec, EvaluatorSpec, FeatureSpec, ImageSpec, NetworkSpec, Part, Role

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
KINDS = tuple(hook.removeprefix("synthreal_") for hook in HOOKS)


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A spec and who gave it."""

    spec: T
    origin: Origin


@dataclass(frozen=True)
class Catalog:
    """Everything the loaded plugins offer, by name; data sets by (name, role), networks by (part, name)."""

    origins: tuple[Origin, ...]
    datasets: Mapping[tuple[str, Role], Entry[DatasetSpec]]
    networks: Mapping[tuple[Part, str], Entry[NetworkSpec]]
    features: Mapping[str, Entry[FeatureSpec]]
    evaluators: Mapping[str, Entry[EvaluatorSpec]]
    recipes: Mapping[str, Entry[RunConfig]]

    @classmethod
    def of(cls, names: Iterable[str]) -> Catalog:
        """Load plugins by name, module or file, call every hook once, refuse clashes naming both distributions."""
        manager = plugin_manager(names)
        tables: dict[str, dict[Any, Entry[Any]]] = {kind: {} for kind in KINDS}
        origins = []
        for name, plugin in manager.list_name_plugin():
            origin = origin_of(name, plugin)
            origins.append(origin)
            for kind, table in tables.items():
                for key, spec in validate_hook(plugin, kind, origin.plugin):
                    if key in table:
                        raise UserError(
                            f"{kind}: {_shown(key)} is registered by both {table[key].origin.distribution} and "
                            f"{origin.distribution}; rename one or load only one of the plugins"
                        )
                    table[key] = Entry(spec, origin)
        return cls(tuple(origins), **{kind: MappingProxyType(table) for kind, table in tables.items()})

    def dataset(self, name: str, role: Role | None = None) -> DatasetSpec:
        """The data set of that name in that role; without a role, the first registered under the name."""
        if role is not None and (name, role) in self.datasets:
            return self.datasets[name, role].spec
        same = [entry.spec for (known, _), entry in self.datasets.items() if known == name]
        if not same:
            raise self._missing("data set", name, sorted({known for known, _ in self.datasets}))
        if role is not None:
            raise UserError(f"data set {name!r} has no role {role}; it has {', '.join(spec.role for spec in same)}")
        return same[0]

    def network(self, part: Part, name: str) -> NetworkSpec:
        """The refiner or discriminator of that name."""
        if (part, name) not in self.networks:
            raise self._missing(part, name, [known for kind, known in self.networks if kind == part])
        return self.networks[part, name].spec

    def feature(self, name: str) -> FeatureSpec:
        """The psi of that name."""
        if name not in self.features:
            raise self._missing("features", name, list(self.features))
        return self.features[name].spec

    def evaluator(self, name: str) -> EvaluatorSpec:
        """The evaluator of that name."""
        if name not in self.evaluators:
            raise self._missing("evaluator", name, list(self.evaluators))
        return self.evaluators[name].spec

    def recipe(self, name: str | None = None) -> RunConfig:
        """The recipe of that name; without one, the recipe named like a loaded plugin, else the first."""
        if name is None:
            ours = [key for key, entry in self.recipes.items() if key == entry.origin.plugin]
            name = next(iter(ours or self.recipes), None)
            if name is None:
                loaded = ", ".join(o.plugin for o in self.origins if o.plugin != BUILTIN) or "nothing"
                raise UserError(
                    f"no recipe: {loaded} loaded, and it offers none; name a plugin with --plugin that has one"
                )
        if name not in self.recipes:
            raise self._missing("recipe", name, list(self.recipes))
        entry = self.recipes[name]
        plugins = entry.spec.plugins or ((entry.origin.plugin,) if entry.origin.plugin != BUILTIN else ())
        return entry.spec.model_copy(update={"recipe": name, "plugins": plugins})

    def build_network(self, part: Part, component: ComponentConfig, image: ImageSpec) -> nn.Module:
        """A fresh refiner or discriminator for images of that spec."""
        spec = self.network(part, component.name)
        return spec.build(parse_options(component, spec.options, part), image)

    def _missing(self, kind: str, name: str, known: list[str]) -> UserError:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return UserError(
            f"{kind} {name!r} is not registered by {', '.join(o.plugin for o in self.origins)}; {hint}"
            f"known: {', '.join(known) or 'none'}; install or name the plugin that has it"
        )


def parse_options(component: ComponentConfig, model: type[BaseModel], path: str) -> Any:
    """A component's options as its model. Raises ``UserError`` naming ``path.options.<field>``."""
    try:
        return model.model_validate(component.options)
    except ValidationError as error:
        raise UserError(describe_error(error, model, f"{path}.options")) from None


def versions_of(catalog: Catalog) -> dict[str, str]:
    """Distribution -> version, for config.toml: synthreal, torch, numpy, kornia and every plugin."""
    versions = {name: version_of(name) for name in ("torch", "numpy", "kornia")}
    return {**{origin.distribution: origin.version for origin in catalog.origins}, **versions}


def _shown(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def inventory() -> list[dict[str, Any]]:
    """Built-ins and every installed plugin: name, distribution, version, what it registers, or why it does not load."""
    rows = [_row(BUILTIN, ())]
    for name in available():
        try:
            rows.append(_row(name, (name,)))
        except Exception as error:  # whatever an installed plugin raises, the others are listed
            why = f"does not load: {error}"
            rows.append({**dataclasses.asdict(origin_of(name, None)), "registers": {}, "error": why})
    return rows


def _row(name: str, names: tuple[str, ...]) -> dict[str, Any]:
    catalog = Catalog.of(names)
    origin = next(origin for origin in catalog.origins if origin.plugin == name)
    registers = {
        kind: [_shown(key) for key, entry in getattr(catalog, kind).items() if entry.origin == origin] for kind in KINDS
    }
    return {**dataclasses.asdict(origin), "registers": registers, "error": None}
