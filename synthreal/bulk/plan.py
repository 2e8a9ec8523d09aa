"""From what was asked to a plan: which kind of data set it is, and the settings that hold for the whole job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from synthreal.bulk.batch import found_batch, usual_batch
from synthreal.bulk.folders import FolderSource
from synthreal.bulk.job import ExecutionSettings, Job, JobSpec
from synthreal.bulk.packs import PackSource
from synthreal.bulk.shards import COMPRESSED, SUFFIX, ShardSource
from synthreal.bulk.source import Source
from synthreal.config import ResolvedConfig
from synthreal.data.folder import SUFFIXES, names_below
from synthreal.device import configure_process, resolve_device, resolve_precision, set_memory_format, should_compile
from synthreal.errors import UserError
from synthreal.inference.pretrained import WEIGHTS
from synthreal.inference.tiles import margin_of
from synthreal.inference.transform import Refine

TILE = 1024


@dataclass(frozen=True)
class RequestedOptions:
    """Settings as they were asked for; None is what suits, or what the job began with."""

    device: str = "auto"
    batch_size: int | Literal["auto"] | None = None
    precision: str | None = None
    threads: int | None = None
    tile: int | Literal["none"] | None = None

    def fixed(self) -> dict[str, Any]:
        """Those of :class:`ExecutionSettings` that are named, by name; "auto" is whatever the job found."""
        device = resolve_device(self.device)
        found: dict[str, Any] = {"device": device.type, "torch": torch.__version__}
        if isinstance(self.batch_size, int):
            found["batch_size"] = self.batch_size
        if self.precision is not None:
            found["precision"] = resolve_precision(self.precision, device)
        if self.threads is not None:
            found["threads"] = self.threads
        if self.tile is not None:
            found["tile"] = None if self.tile == "none" else self.tile
        return found


def refuse_below_one(**numbers: int | str | None) -> None:
    """Raise ``UserError`` for a number below 1, by the name of its option."""
    for name, number in numbers.items():
        if number is not None and not isinstance(number, str) and number < 1:
            raise UserError(f"--{name.replace('_', '-')} {number}: give a number of at least 1")


def opened(path: Path, limit: int | None, samples: int, origin: dict[str, Any]) -> Source[Any, Any]:
    """The data set at ``path``. Raises ``UserError`` when it is none."""
    if path.is_dir():
        names = [name.lower() for name in names_below(path)]
        pictures, shards = (any(name.endswith(suffix) for name in names) for suffix in (SUFFIXES, SUFFIX))
        if pictures and shards:
            raise UserError(f"{path}: holds pictures and {SUFFIX} shards; refine them from folders of their own")
        if shards:
            return _filled(ShardSource(path, limit))
        if pictures:
            return FolderSource(path, limit, samples)
        raise UserError(f"{path}: no picture ({', '.join(SUFFIXES)}) and no {SUFFIX} shard in it; correct the path")
    name = path.name.lower()
    if name.endswith(SUFFIX):
        return _filled(ShardSource(path, limit))
    if name.endswith((*SUFFIXES, *COMPRESSED)):
        wanted = "its folder" if name.endswith(SUFFIXES) else "the unpacked .tar"
        raise UserError(f"{path}: no pack (.h5), shard (.tar) or folder; give {wanted}")
    if not path.exists():
        raise UserError(f"{path}: no such pack (.h5), shard (.tar) or folder; correct the path")
    return PackSource(path, limit, origin)


def _filled(shards: ShardSource) -> ShardSource:
    if not shards.count:
        extensions = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise UserError(f"{shards.path}: no member with the extension {extensions} alone; nothing to refine")
    return shards


def digest(run: Path, config: ResolvedConfig) -> str:
    """Hash of a refiner: its weights, and the settings that make the network."""
    content = hashlib.sha256(json.dumps(config.refiner.model_dump(mode="json"), sort_keys=True).encode())
    content.update(config.runtime.layout.encode())
    path = run / WEIGHTS
    if path.is_file():  # if not, loading it says so
        content.update(path.read_bytes())
    return content.hexdigest()


def load(run: Path, config: ResolvedConfig, device: torch.device, how: ExecutionSettings) -> Refine:
    """The refiner, in a process that is set up as the plan says."""
    configure_process(config.runtime.model_copy(update={"threads": how.threads}))
    torch.backends.cudnn.benchmark = False  # it would choose algorithms by time, others in every process
    transform = Refine.load(run, device=str(device), precision=how.precision)
    transform.micro_batch = how.batch_size
    set_memory_format(transform.refiner, config.runtime.layout, compiled=how.compiled)
    return transform


def planned(
    data: Source[Any, Any],
    what: JobSpec,
    run: Path,
    config: ResolvedConfig,
    device: torch.device,
    asked: RequestedOptions,
) -> Job:
    """A new plan.

    Raises:
        UserError: versions asked of a refiner without noise maps, or tiles of one without a receptive field.
    """
    threads = asked.threads or config.runtime.threads or torch.get_num_threads()
    precision = resolve_precision(asked.precision or config.runtime.precision, device)
    tile = TILE if asked.tile is None else None if asked.tile == "none" else asked.tile
    how = ExecutionSettings(
        batch_size=1,
        px=1,
        group=1,
        block=1,
        precision=precision,
        threads=threads,
        tile=tile,
        compiled=False,
        device=device.type,
        torch=torch.__version__,
    )
    transform = load(run, config, device, how)
    if what.samples > 1 and not transform.noise_channels:
        raise UserError(
            f"--samples {what.samples}: the refiner of {run} takes no noise maps, so all versions would be the same; "
            "fit one with refiner.options.noise_channels=1"
        )
    sizes = data.sizes()
    whole = [size for size in sizes if tile is None or size[0] * size[1] <= tile * tile]
    if data.kind == "pack" and not whole:
        margin_of(transform.refiner)
    if asked.batch_size == "auto":
        batch = found_batch(transform, whole)
    else:
        batch = asked.batch_size or usual_batch(config.runtime.micro_batch, device, whole)
    px = batch * max((height * width for height, width in whole), default=1)
    size = max(sizes, key=lambda size: size[0] * size[1], default=(1, 1))
    group, block = data.cut(batch, size)
    compiled = (
        bool(whole) and data.kind == "pack" and should_compile(config.runtime.compile, device, data.count // group)
    )
    return Job(
        what,
        ExecutionSettings(batch, px, group, block, precision, threads, tile, compiled, device.type, torch.__version__),
    )
