"""Checkpoints: the whole state of a game after a step, written atomically and read without unpickling code.

The file is what ``torch.save`` writes, with the SHA-256 of it as the comment of the zip archive: torch reads damaged
numbers without a word, and damaged structure may raise anything, hang or fill the memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from synthreal.core.game import Game
from synthreal.distributed.processes import Processes
from synthreal.errors import UserError
from synthreal.files import atomic_write, write_errors
from synthreal.inference.pretrained import CHECKPOINTS

KEEP = 2
STATEFUL = ("refiner", "discriminator", "optimizer_refiner", "optimizer_discriminator")
REQUIRED = {
    "step",
    "seen",
    "config",
    "precision",
    "monitor",
    *STATEFUL,
    "average",
    "history",
    "generator",
    "weight",
    "drift_px",
}


def game_state(game: Game) -> dict[str, Any]:
    """Networks, optimizers, the average, the history and the generator.

    A collective operation: all processes must call it. On rank 0 the result holds the common state and, in ``ranks``,
    the state that each process has for itself.
    """
    state = {
        **{part: getattr(game, part).state_dict() for part in STATEFUL},
        "average": None if game.average is None else game.average.state_dict(),
        "history": None if game.history is None else game.history.state_dict(),
        "generator": game.generator.get_state(),
        "weight": game.weight,
        "drift_px": game.drift_px,
    }
    if game.slots is not None:
        state["ranks"] = game.processes.gather({"history": state["history"], "slots": game.slots.get_state()})
        state["history"] = None
    return state


def process_count(state: Mapping[str, Any]) -> int:
    """The number of processes that wrote a checkpoint."""
    return len(state.get("ranks", (None,)))


def scatter_state(state: dict[str, Any] | None, processes: Processes) -> dict[str, Any]:
    """The checkpoint that rank 0 has read, for each process: the common state and its own. Other ranks pass None."""
    state = {"ranks": []} if state is None else state
    if processes.size == 1:
        return state
    common = processes.broadcast({name: value for name, value in state.items() if name != "ranks"})
    return {**common, **processes.scatter(state["ranks"])}


def restore(game: Game, state: dict[str, Any]) -> None:
    """Restore :func:`game_state`, bit for bit. Raises ``UserError`` if a part does not fit the game."""
    for part in (*STATEFUL, "average", "history"):
        target = getattr(game, part)
        if target is None:
            continue
        try:
            target.load_state_dict(state[part])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(
                f"the checkpoint's {part} does not fit the networks that the plugins now build ({reason[:120]}); "
                "resume with the plugin it was trained with, or fit again"
            ) from error
    game.generator.set_state(state["generator"].cpu())
    game.weight, game.drift_px = state["weight"], state["drift_px"]
    if game.slots is not None:
        game.slots.set_state(state["slots"].cpu())


def save(run_dir: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``checkpoints/step-<step>.pt`` (temporary file, fsync, rename) and delete all but the newest two."""
    folder = run_dir / CHECKPOINTS
    with write_errors(folder):
        folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    with atomic_write(path) as partial:
        buffer = io.BytesIO()  # torch.save to a file reports a full disk as an unrelated RuntimeError
        torch.save({"step": step, **state}, buffer)
        partial.write_bytes(add_checksum(buffer.getvalue()))
    prune(run_dir)
    return path


def prune(run_dir: Path) -> None:
    """Delete all but the newest two checkpoints, and temporary files of killed processes."""
    for old in (*checkpoints(run_dir)[:-KEEP], *(run_dir / CHECKPOINTS).glob(".step-*.partial")):
        with write_errors(old):
            old.unlink()


def checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run_dir / CHECKPOINTS).glob("step-*.pt"))


def step_of(path: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(path.stem.removeprefix("step-"))


def load(run_dir: Path) -> dict[str, Any]:
    """The newest checkpoint, read with ``weights_only=True``. Raises ``UserError`` if it is missing or damaged."""
    found = checkpoints(run_dir)
    if not found:
        raise UserError(f"{run_dir}: nothing to resume (no checkpoints); fit without --resume, into an empty folder")
    try:
        content = strip_checksum(found[-1].read_bytes())
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not REQUIRED <= state.keys():
            raise ValueError("parts of the state are missing")
    except Exception as error:  # torch's unpickler raises anything on forged bytes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "delete it to resume from the previous one" if len(found) > 1 else "delete the run and fit again"
        raise UserError(f"{found[-1]}: not a complete checkpoint ({reason[:120]}); {remedy}") from error
    return state


def add_checksum(archive: bytes) -> bytes:
    """A zip archive without comment, with the SHA-256 of its bytes as its comment."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + len(digest).to_bytes(2, "little") + digest


def strip_checksum(content: bytes) -> bytes:
    """The inverse of :func:`add_checksum`. Raises ``ValueError`` if a single byte differs."""
    archive = content[:-66] + b"\0\0"
    if content != add_checksum(archive):
        raise ValueError("its checksum is wrong or missing")
    return archive
