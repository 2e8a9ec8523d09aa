"""Loading plugins by name: entry points, modules and files, and the distribution that each comes from.

Only the named plugins are loaded, so a broken plugin cannot break a run that does not name it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pluggy

from synthreal.errors import UserError
from synthreal.hooks import builtin, hookspecs

BUILTIN = "synthreal"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("synthreal_"))


@dataclass(frozen=True)
class Origin:
    """The origin of a plugin: its name, distribution and version ("sha256:..." for a file)."""

    plugin: str
    distribution: str
    version: str


def plugin_manager(names: Iterable[str]) -> pluggy.PluginManager:
    """A new manager with the built-ins and the plugins ``names``: entry points, ``package.module`` or ``domain.py``.

    Raises:
        UserError: a plugin does not exist or does not import, or a hook of it is unknown or not marked as one.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(builtin, BUILTIN)
    for name in dict.fromkeys(names):
        module = _load(name)
        for hook in HOOKS:  # pluggy would ignore an unmarked function silently
            if hasattr(module, hook) and not hasattr(getattr(module, hook), f"{hookspecs.PROJECT}_impl"):
                raise UserError(f"plugin {name}: {hook} is not marked as a hook; put @synthreal.hookimpl above it")
        try:
            if not manager.is_registered(module):
                manager.register(module, name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = str(error).partition(" in plugin ")[0]
            raise UserError(f"plugin {name}: {reason}; the hooks are {', '.join(HOOKS)}") from None
    return manager


def require_trust(names: Iterable[str], source: str) -> None:
    """Refuse plugins named by a configuration, which a stranger may have written, if loading one runs new code.

    An installed plugin is one with an entry point, because a module's name may lead into the working directory. A
    plugin that this process has loaded already runs no new code.

    Raises:
        UserError: a plugin is neither installed nor loaded.
    """
    for name in names:
        module = _file_module(Path(name).resolve()) if name.endswith(".py") else _module_name(name)
        if module not in sys.modules and (name.endswith(".py") or _entry_point(name) is None):
            raise UserError(
                f"{source}: its plugin {name!r} is not installed (installed: {', '.join(available()) or 'none'}); "
                "install its package or, if you trust its code, give --trust (Python: trust=True, or Catalog.of first)"
            )


def trust_option(names: Iterable[str]) -> list[str]:
    """The option that commands on a run with these plugins need: ``--trust`` if one is not installed."""
    return [] if set(names) <= set(available()) else ["--trust"]


def available() -> list[str]:
    """The names of the installed plugins."""
    return sorted({point.name for point in metadata.entry_points(group=hookspecs.PROJECT)})


def canonical(name: str) -> str:
    """The name under which a run records a plugin: the absolute path of a file, any other name unchanged."""
    return str(Path(name).resolve()) if name.endswith(".py") else name


def origin_of(name: str) -> Origin:
    """The distribution and version of a plugin."""
    if name.endswith(".py"):
        return Origin(name, Path(name).name, f"sha256:{hashlib.sha256(Path(name).read_bytes()).hexdigest()}")
    point = _entry_point(name)
    if point is not None and point.dist is not None:
        return Origin(name, point.dist.name, point.dist.version)
    package = BUILTIN if name == BUILTIN else _module_name(name).partition(".")[0]
    distribution = package.replace("_", "-")
    return Origin(name, distribution, version_of(distribution))


def version_of(distribution: str) -> str:
    """The installed version of a distribution; "source" when it runs from a source tree without metadata."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "source"


def _entry_point(name: str) -> metadata.EntryPoint | None:
    return next((point for point in metadata.entry_points(group=hookspecs.PROJECT) if point.name == name), None)


def _module_name(name: str) -> str:
    """The module of a plugin: the one its entry point names, ``package.module`` itself, or ``synthreal_<name>``."""
    point = _entry_point(name)
    return point.value if point is not None else name if "." in name else f"synthreal_{name}"


def _load(name: str) -> ModuleType:
    module = _module_name(name)
    try:
        if name.endswith(".py"):
            return _load_file(Path(name).resolve())
        if not all(part.isidentifier() for part in module.split(".")):
            raise ModuleNotFoundError(name=module)
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            remedy = "install its package" if "." in name else f"pip install synthreal-{name}"
            known = available()
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? If not, " if near else ""
            reason = f"is not installed (installed: {', '.join(known) or 'none'}); {hint}{remedy}"
            raise UserError(f"plugin {name!r} {reason}, or give path/to/domain.py") from None
        raise UserError(f"plugin {name} does not import: {error}; correct it, or install what it needs") from error


def _file_module(path: Path) -> str:
    """The name under which the module of a file is imported."""
    return f"synthreal_file_{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"


def _load_file(path: Path) -> ModuleType:
    """The module of a file, imported once per process under a name made from its path."""
    if not os.path.isfile(path):  # noqa: PTH113 - that of Path raises for a name that is too long
        raise UserError(f"plugin {path}: no such file; give the path of a domain's .py file")
    name = _file_module(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
