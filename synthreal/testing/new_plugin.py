"""The template of a new plugin, written as an installable distribution.

The files are in ``template``: ``PLUGIN`` stands for the name, in their text and in their paths, and ``.txt`` keeps
tools that look for Python files away from them.
"""

from __future__ import annotations

import os
import re
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from synthreal.errors import UserError
from synthreal.files import real_path, write_errors
from synthreal.hooks.discovery import BUILTIN, available

_NAME = re.compile(r"[a-z](?:[a-z0-9_]{0,38}[a-z0-9])?")  # the end, because a distribution's name cannot end in _
_PLACEHOLDER = "PLUGIN"


def new_plugin(name: str, folder: Path) -> list[Path]:
    """Write the distribution ``synthreal-<name>`` into ``folder``; either all of it or nothing.

    Args:
        name: the name of the plugin, such as "gauges".
        folder: the folder that will hold pyproject.toml; it must not exist, or be empty.

    Returns:
        The files, sorted.

    Raises:
        UserError: a name that is not one or is taken, a folder that holds something, or a failed write.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name of a plugin; use a-z, 0-9 and _, begin with a letter, end with a letter or digit, at "
            "most 40 characters"
        )
    if name in (BUILTIN, *available()):
        raise UserError(f"a plugin {name} is installed already; choose another name")
    with write_errors(folder):
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise UserError(f"{folder}: exists and is not an empty folder; choose another with --into")
        target = real_path(folder)
        stays = target.exists()  # it may be the working directory of a shell, or in a folder that is read-only
        partial = (target if stays else target.parent) / f".{target.name}.{os.getpid()}.partial"
        partial.mkdir(parents=True)
        try:
            _copy(resources.files("synthreal.testing") / "template", partial, name)
            if stays:
                _move_all(partial, target)
            else:
                partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _move_all(source: Path, target: Path) -> None:
    """Move what a folder holds into another; all of it, or nothing."""
    moved: list[Path] = []
    try:
        for item in [*source.iterdir()]:
            moved.append(item.replace(target / item.name))
    except BaseException:
        for item in moved:
            item.replace(source / item.name)
        raise


def _copy(source: Traversable, folder: Path, name: str) -> None:
    for item in source.iterdir():
        target = folder / item.name.replace(_PLACEHOLDER, name).removesuffix(".txt")
        if item.is_dir():
            target.mkdir()
            _copy(item, target, name)
        elif item.name.endswith(".txt"):
            target.write_text(item.read_text(encoding="utf-8").replace(_PLACEHOLDER, name), encoding="utf-8")
