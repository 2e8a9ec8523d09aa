"""A trained refiner as a folder: refiner.safetensors, styles.safetensors (not of older versions) and config.toml.

``synthreal fit`` and ``Refine.save_pretrained`` write it.

Reading unpickles nothing, and needs no plugin for a built-in refiner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
import torch
from torch import nn

from synthreal.config import ResolvedConfig
from synthreal.config.toml import read_toml
from synthreal.core.style_bank import LEVELS, StyleBank
from synthreal.errors import UserError
from synthreal.files import write_errors, write_text
from synthreal.hooks.catalog import Catalog
from synthreal.inference.weights import read_metadata, read_tensors, read_weights, write_tensors, write_weights

CONFIG = "config.toml"
WEIGHTS = "refiner.safetensors"
STYLES = "styles.safetensors"
CARD = "README.md"
CHECKPOINTS = "checkpoints"
LOG = "log.jsonl"
SHEETS = "sheets"
REMEDY = "restore it or fit again"


@dataclass(frozen=True)
class Pretrained:
    """The origin of a refiner: its absolute folder, configuration, versions by distribution, training step and kind.

    The kind is "ema" for averaged weights, or "raw". ``styles`` are those of the real images it was trained on; None if
    the folder does not hold them.
    """

    folder: Path
    config: ResolvedConfig
    versions: Mapping[str, str]
    step: str
    kind: str
    styles: StyleBank | None = field(compare=False)  # tensors do not compare to one bool


def read_pretrained(folder: Path, *, trust: bool = False) -> tuple[nn.Module, Pretrained]:
    """Build the refiner of a folder on the CPU in float32, without advancing torch's global generator.

    ``trust`` permits a refiner from a plugin that is not installed. Raises ``UserError`` if a file is missing or
    damaged, or the weights do not fit.
    """
    config, versions = read_config_and_versions(folder)
    builtin, name = Catalog.of(()), config.refiner.name
    own = ("refiner", name) in builtin.networks
    try:
        catalog = builtin if own else Catalog.of_run(config, folder / CONFIG, trust=trust)
    except UserError as error:
        raise UserError(f"{folder}: its refiner {name!r} needs a plugin ({CONFIG}, plugins): {error}") from error
    with _default_dtype(), torch.random.fork_rng(devices=[]):  # initial weights are drawn and overwritten
        refiner = catalog.build_network("refiner", config.refiner, config.image)
    metadata = read_refiner(folder, refiner)
    step, kind = metadata.get("step", ""), metadata.get("kind", "")
    styles = read_styles(folder, config.image.channels)
    return refiner, Pretrained(folder.absolute(), config, versions, step, kind, styles)


@contextmanager
def _default_dtype() -> Iterator[None]:
    """Build networks on the CPU in float32, whatever torch's default device and dtype are."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)


def write_pretrained(folder: Path, refiner: nn.Module, about: Pretrained, card: str, *, overwrite: bool) -> None:
    """Write weights, styles, README.md and config.toml (in this order) into a folder, each atomically.

    Without styles, those in the folder are deleted: they are of another refiner. Raises ``UserError`` if the folder
    holds one of these files (without ``overwrite``) or a run, or cannot be written.
    """
    if any((folder / name).exists() for name in (CHECKPOINTS, LOG)):  # a run may have lost its checkpoints
        raise UserError(f"{folder}: holds a run; choose another folder")
    names = (WEIGHTS, STYLES, CARD, CONFIG)
    if there := [name for name in names if (folder / name).exists() and not overwrite]:
        raise UserError(f"{folder}: already holds {there[0]}; choose another folder, or give overwrite=True")
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".", suffix=".partial") as partial:
            write_refiner(Path(partial), refiner, step=about.step, kind=about.kind)
            if about.styles is not None:
                write_styles(Path(partial), about.styles)
            write_text(Path(partial) / CARD, card)
            write_config(Path(partial), about.config, about.versions)
            for name in names:
                if (Path(partial) / name).exists():
                    (Path(partial) / name).replace(folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)


def write_config(folder: Path, config: ResolvedConfig, versions: Mapping[str, str]) -> None:
    """Write config.toml: the configuration, then the version of each distribution."""
    write_text(folder / CONFIG, config.to_toml() + "\n" + tomli_w.dumps({"versions": dict(versions)}))


def read_config(folder: Path) -> ResolvedConfig:
    """The configuration of a run directory or saved refiner. Raises ``UserError`` if there is none."""
    return read_config_and_versions(folder)[0]


def read_config_and_versions(folder: Path) -> tuple[ResolvedConfig, dict[str, str]]:
    """The configuration, and the version of each distribution. Raises ``UserError`` like :func:`read_config`."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: holds no run (no {CONFIG}); give the folder that synthreal fit, or save_pretrained, wrote"
        )
    tree = read_toml(path)
    versions = tree.pop("versions", {})
    if not isinstance(versions, dict):
        raise UserError(f"{path}: versions: not a table; {REMEDY}")
    for name, version in versions.items():
        if not isinstance(version, str):
            raise UserError(f"{path}: versions: {name!r} is not text; {REMEDY}")
    config = ResolvedConfig.from_tree(tree, source=str(path))
    return config, versions


def read_tree(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, without the versions that config.toml of a run records."""
    tree = read_toml(path)
    tree.pop("versions", None)
    return tree


def write_refiner(folder: Path, refiner: nn.Module, *, step: int | str, kind: str) -> None:
    """Write refiner.safetensors; its metadata names the step and the kind of weights ("ema" or "raw")."""
    write_weights(folder / WEIGHTS, refiner, {"step": str(step), "kind": kind})


def read_refiner(folder: Path, refiner: nn.Module) -> Mapping[str, str]:
    """Load refiner.safetensors into a network and return its metadata. Raises ``UserError`` if they do not fit."""
    return read_weights(weights_of(folder), refiner, described=CONFIG, remedy=REMEDY)


def write_styles(folder: Path, styles: StyleBank) -> None:
    """Write styles.safetensors."""
    write_tensors(folder / STYLES, {"amplitudes": styles.amplitudes, "levels": styles.levels})


def read_styles(folder: Path, channels: int) -> StyleBank | None:
    """The styles in styles.safetensors; None if there is no such file. Raises ``UserError`` if it does not fit."""
    path = folder / STYLES
    if not path.is_file():
        return None
    tensors = read_tensors(path, remedy=REMEDY)
    amplitudes, levels = (tensors.get(name, torch.empty(0)) for name in ("amplitudes", "levels"))
    count, across = (*levels.shape, 0)[0], (0, *amplitudes.shape)[-1]
    shapes = (count, channels, 2 * across - 1, across), (count, channels, LEVELS)
    fits = count and (amplitudes.shape, levels.shape) == shapes and amplitudes.dtype == levels.dtype == torch.float32
    if not fits:
        raise UserError(f"{path}: holds no styles of images of {channels} channels; {REMEDY}")
    return StyleBank(amplitudes, levels)


def missing_styles(folder: Path, need: str) -> UserError:
    """The error of a folder without styles.safetensors, which ``need`` calls for."""
    resumed = f"synthreal fit --run {folder} --resume writes it"
    remedy = resumed if (folder / CHECKPOINTS).is_dir() else "save the refiner again from a run that holds it"
    return UserError(f"{folder / STYLES}: missing, but {need} needs it; {remedy}")


def weights_of(folder: Path) -> Path:
    """The path of refiner.safetensors. Raises ``UserError`` if it is missing."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path}: missing; finish the run with synthreal fit --resume, or restore the file")
    return path


def weights_step(folder: Path) -> int:
    """The training step of refiner.safetensors. Raises ``UserError`` if the file is missing, damaged or has no step."""
    path = weights_of(folder)
    step = read_metadata(path, remedy=REMEDY).get("step", "")
    if not step.isdecimal():
        raise UserError(f"{path}: its metadata has no training step; {REMEDY}")
    return int(step)
