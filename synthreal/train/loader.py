"""What the game is fed: both endless streams, how many mini-batches of each it has had, and crops of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from torch import Tensor

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.core.patch import random_patches
from synthreal.data.stream import Stream
from synthreal.hooks.catalog import Catalog
from synthreal.train.sources import caches, open_stream

Kind = Literal["simulated", "real"]


class DataFeed:
    """Mini-batches in the order of the run's seed.

    Attributes:
        streams: by kind.
        seen: mini-batches taken, by kind: all a checkpoint needs.
    """

    def __init__(self, streams: Mapping[Kind, Stream], game: Game, patch: int | None) -> None:
        self.streams, self.seen = streams, dict.fromkeys(streams, 0)
        self._game, self._patch = game, patch

    def take(self, kind: Kind) -> Tensor:
        """The next images ``(b, C, H, W)`` in [0, 1], or random crops of them."""
        images = self.streams[kind].batch(self.seen[kind]).image
        self.seen[kind] += 1
        if self._patch is None:
            return images
        return random_patches(images, self._patch, self._game.generator, self._game.processes)


@contextmanager
def open_data_feed(config: RunConfig, catalog: Catalog, game: Game, run_dir: Path) -> Iterator[DataFeed]:
    """The feed of a resolved configuration; of several processes, rank 0 reads files into the run directory first."""
    processes, device = game.processes, game.generator.device
    kinds: tuple[Kind, Kind] = ("simulated", "real")
    with ExitStack() as stack:
        streams: dict[Kind, Stream] = {}
        for kind in kinds:
            with processes.main_first() if caches(config, catalog, kind) else nullcontext():
                stream = open_stream(config, catalog, kind, device=device, run_dir=run_dir, processes=processes)
            streams[kind] = stack.enter_context(stream)
        yield DataFeed(streams, game, config.schedule.patch)
