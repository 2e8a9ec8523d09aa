"""From plugin names to loaded plugins: entry points, modules and files, and where each came from.

Discovery is a function call. Only what is named is loaded, so a broken plugin cannot break a run that does not name it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from synthreal.errors import UserError
from synthreal.hooks import builtin, hookspecs

BUILTIN = "synthreal"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("synthreal_"))


@dataclass(frozen=True)
class Origin:
    """Where a plugin came from: its name, distribution and version ("sha256:..." for a file)."""

    plugin: str
    distribution: str
    version: str


def plugin_manager(names: Iterable[str], modules: Iterable[ModuleType] = ()) -> pluggy.PluginManager:
    """A new manager holding the built-ins and the named plugins only.

    Args:
        names: entry points of group ``synthreal``, ``package.module`` or ``path/to/domain.py``.
        modules: further plugin objects, for tests.

    Raises:
        UserError: no such plugin, one that fails to import, or one with a hook nobody knows or not marked as one.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, BUILTIN)
    loaded = {name: _load(name) for name in dict.fromkeys(names)}
    try:
        for name, module in loaded.items():
            _refuse_unmarked(name, module)
            if not manager.is_registered(module):
                manager.register(module, name)
        for module in modules:
            manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = next((name for name, module in loaded.items() if module is error.plugin), str(error.plugin))
        said = str(error).partition(" in plugin ")[0]
        raise UserError(f"plugin {name}: {said}; the hooks are {', '.join(HOOKS)}") from None
    return manager


def available() -> list[str]:
    """Names of installed plugins, by entry point."""
    return sorted({point.name for point in metadata.entry_points(group=hookspecs.PROJECT)})


def canonical(name: str) -> str:
    """How a plugin is recorded: files by absolute path, everything else by name."""
    return str(Path(name).resolve()) if name.endswith(".py") else name


def origin_of(name: str, plugin: Any) -> Origin:
    """Name, distribution and version of a loaded plugin."""
    if name.endswith(".py"):
        digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        return Origin(name, Path(name).name, f"sha256:{digest}")
    points = [point for point in metadata.entry_points(group=hookspecs.PROJECT) if point.name == name and point.dist]
    if points and points[0].dist is not None:
        return Origin(name, points[0].dist.name, points[0].dist.version)
    distribution = BUILTIN if name == BUILTIN else getattr(plugin, "__name__", name).partition(".")[0].replace("_", "-")
    return Origin(name, distribution, version_of(distribution))


def version_of(distribution: str) -> str:
    """The installed version of a distribution, "source" when it runs from a source tree without metadata."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "source"


def _refuse_unmarked(name: str, module: ModuleType) -> None:
    """A function named like a hook but not marked as one would be passed over in silence."""
    for hook in HOOKS:
        function = getattr(module, hook, None)
        if function is not None and not hasattr(function, f"{hookspecs.PROJECT}_impl"):
            raise UserError(f"plugin {name}: {hook} is not marked as a hook; put @synthreal.hookimpl above it")


def _load(name: str) -> ModuleType:
    if name.endswith(".py"):
        return _load_file(Path(name))
    points = [point for point in metadata.entry_points(group=hookspecs.PROJECT) if point.name == name]
    target = points[0].value if points else name if "." in name else f"synthreal_{name}"
    try:
        if not all(part.isidentifier() for part in target.split(".")):
            raise ModuleNotFoundError(name=target)
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if points or error.name is None or not f"{target}.".startswith(f"{error.name}."):
            raise UserError(
                f"plugin {name!r} needs the module {error.name}, which is not installed; pip install it"
            ) from error
        found = ", ".join(available()) or "none"
        raise UserError(
            f"plugin {name!r} is not installed (installed: {found}); "
            f"{'install its package' if '.' in name else f'pip install synthreal-{name}'}, or give path/to/domain.py"
        ) from None
    except (ImportError, SyntaxError) as error:
        raise UserError(f"plugin {name!r} does not import: {error}") from error


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise UserError(f"plugin {path}: no such file; give the path of a domain's .py file")
    name = f"synthreal_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError | SyntaxError):
            raise UserError(f"plugin {path} does not import: {error}") from error
        raise
    return module
