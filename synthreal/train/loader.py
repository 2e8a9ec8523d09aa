"""The mini-batches of the game: endless streams of simulated and real images, or random crops of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.patch import random_patches
from synthreal.data.stream import Stream
from synthreal.hooks.catalog import Catalog
from synthreal.train.sources import open_stream, reads_files

Kind = Literal["simulated", "real"]


class DataFeed:
    """Mini-batches in the order that ``runtime.seed`` gives.

    Attributes:
        streams: by kind.
        seen: number of mini-batches taken, by kind; a checkpoint stores it.
    """

    def __init__(self, streams: Mapping[Kind, Stream], game: Game, patch: int | None) -> None:
        self.streams, self.seen = streams, dict.fromkeys(streams, 0)
        self._game, self._patch = game, patch

    def take(self, kind: Kind) -> Tensor:
        """The next images ``(b, C, H, W)`` in [0, 1], or random crops ``(b, C, patch, patch)``."""
        images = self.streams[kind].batch(self.seen[kind]).image
        self.seen[kind] += 1
        if self._patch is None:
            return images
        processes = self._game.processes
        return random_patches(images, self._patch, self._game.generator, rank=processes.rank, size=processes.size)


@contextmanager
def open_feed(config: ResolvedConfig, catalog: Catalog, game: Game, run_dir: Path) -> Iterator[DataFeed]:
    """Open both streams; rank 0 first where files are converted to a pack in the run directory."""
    processes, device = game.processes, game.generator.device
    kinds: tuple[Kind, Kind] = ("simulated", "real")
    with ExitStack() as stack:
        streams: dict[Kind, Stream] = {}
        for kind in kinds:
            with processes.main_first() if reads_files(config, catalog, kind) else nullcontext():
                stream = open_stream(config, catalog, kind, device=device, run_dir=run_dir, processes=processes)
            streams[kind] = stack.enter_context(stream)
        yield DataFeed(streams, game, config.schedule.patch)
