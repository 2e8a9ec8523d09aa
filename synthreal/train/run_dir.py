"""The run directory: its lock, and the settings that must not change when a run is resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from synthreal.config import ResolvedConfig
from synthreal.config.toml import read_toml
from synthreal.errors import UserError, printable
from synthreal.files import refuse_link, write_errors
from synthreal.hooks.catalog import Catalog, versions_of
from synthreal.inference.pretrained import CHECKPOINTS, CONFIG, LOG, SHEETS, STYLES, WEIGHTS
from synthreal.train.checkpoint import checkpoints, process_count
from synthreal.train.sources import CACHE

FREE = (
    *(f"data.{role}" for role in ("real_labelled", "validation", "test")),
    *(f"schedule.{what}_every" for what in ("report", "save", "sheet")),
    "quality.patience",
    *("evaluation", "runtime", "recipe"),
)
FIXED = ("runtime.seed",)
LOCK = ".lock"


def holds_run(run_dir: Path) -> bool:
    """Whether a folder holds saved state.

    A run killed before its first checkpoint leaves its lock, and perhaps weights, that nobody can resume from.
    """
    return bool(checkpoints(run_dir)) or ((run_dir / WEIGHTS).exists() and not (run_dir / LOCK).exists())


def refuse_taken(run_dir: Path) -> None:
    """Raise ``UserError`` for a folder that cannot be that of a new run, because of its name or the run in it."""
    if printable(str(run_dir)) != str(run_dir):
        raise UserError(f"{run_dir}: its name is not UTF-8 or has control characters; choose another run directory")
    if holds_run(run_dir):
        raise UserError(f"{run_dir}: already holds a run; continue it with --resume or choose another run directory")


@contextmanager
def claim(run_dir: Path, config: ResolvedConfig, *, precision: str, state: Mapping[str, Any] | None) -> Iterator[None]:
    """Create the folder of a new run, or check that a checkpoint matches the configuration; lock it meanwhile.

    A new run that ends before its first checkpoint leaves no ``config.toml``, so that the folder can be used again;
    folders created here are removed if they stay empty.
    """
    if state is None:
        refuse_taken(run_dir)
    else:
        check_resumable(run_dir, ResolvedConfig.from_toml(state["config"], source="checkpoint"), config)
        if state["precision"] != precision:
            raise UserError(
                f"{run_dir}: was trained in runtime.precision={state['precision']}; resume with that, not {precision}"
            )
    for name in (LOCK, LOG, CHECKPOINTS, SHEETS):
        refuse_link(run_dir / name)
    created = [path for path in (run_dir, *run_dir.parents) if not path.exists()]  # innermost first
    try:
        with write_errors(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            (run_dir / LOCK).touch()
        with _locked(run_dir):
            try:
                yield
            finally:
                with write_errors(run_dir):
                    if state is None and (run_dir / CONFIG).exists() and not checkpoints(run_dir):
                        for name in (WEIGHTS, STYLES):
                            (run_dir / name).unlink(missing_ok=True)
                        (run_dir / CONFIG).unlink()
                    _remove_empty(run_dir / CHECKPOINTS, run_dir / CACHE)
    finally:
        with write_errors(run_dir):
            _remove_empty(*created)


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock of the folder; the system releases it when the process dies. Without ``fcntl`` there is no lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with ExitStack() as stack:
        with write_errors(run_dir / LOCK):
            lock = stack.enter_context((run_dir / LOCK).open("w", encoding="utf-8"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not (run_dir / LOCK).exists() or not os.path.samestat(os.fstat(lock.fileno()), (run_dir / LOCK).stat()):
                raise BlockingIOError  # its owner has removed it since it was opened
        except BlockingIOError:
            raise UserError(f"{run_dir}: another fit is running in it; wait, or choose another run directory") from None
        try:
            yield
        finally:
            with write_errors(run_dir / LOCK):
                (run_dir / LOCK).unlink(missing_ok=True)


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def check_processes(run_dir: Path, state: Mapping[str, Any], processes: int) -> None:
    """Refuse a checkpoint of another number of processes, because each has its own history."""
    if (before := process_count(state)) != processes:
        trained = "one process" if before == 1 else f"{before} processes"
        how = "without torchrun" if before == 1 else f"with torchrun --nproc-per-node={before}"
        raise UserError(f"{run_dir}: was trained by {trained}, not {processes}; resume {how}")


def check_resumable(run_dir: Path, before: ResolvedConfig, now: ResolvedConfig) -> None:
    """Refuse changes of settings that affect training; a longer game, evaluation and runtime settings may change."""
    longer = now.schedule.steps >= before.schedule.steps
    refused = [
        f"{key} ({old} before, {new} now)"
        for key, (old, new) in differences(before, now).items()
        if (key in FIXED or not any(key == free or key.startswith(f"{free}.") for free in FREE))
        and not (key == "schedule.steps" and longer)
    ]
    if refused:
        shown = ", ".join(refused[:4]) + (f" and {len(refused) - 4} more" if len(refused) > 4 else "")
        raise UserError(f"{run_dir}: holds a run with another configuration: {shown}; resume with the same settings")


def differences(one: ResolvedConfig, other: ResolvedConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that differ between two configurations: sorted dotted paths, with both values."""
    old, new = dict(leaves(one.tree())), dict(leaves(other.tree()))
    pairs = {key: (old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())}
    return {key: (before, now) for key, (before, now) in pairs.items() if before != now}


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values of a nested configuration; lists are values."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, list(tree) if isinstance(tree, tuple) else tree


def changed_versions(run_dir: Path, catalog: Catalog) -> list[str]:
    """Warnings about versions (of plugin files: contents) that differ from those in config.toml."""
    before = read_toml(run_dir / CONFIG).get("versions", {}) if (run_dir / CONFIG).is_file() else {}
    return [
        f"{name} was {before[name]} when this run was last trained, now it is {version}"
        for name, version in versions_of(catalog).items()
        if before.get(name, version) != version
    ]
