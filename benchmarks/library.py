"""The workload of the library: the steps of a recipe on packs of random images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from clock import Spent, spent
from torch.utils.flop_counter import FlopCounterMode
from workload import WARM_PX, Workload

import synthreal
from synthreal.config import ResolvedConfig
from synthreal.core import update_discriminator, update_refiner
from synthreal.device import configure_process
from synthreal.train import build_game, open_stream

PRECISION = {"fp32": "float32", "bf16": "bfloat16"}
COUNT_PX = 32
OFF = dict.fromkeys(("real_labelled", "validation", "test"), "none")


def configured(size: dict[str, Any], catalog: synthreal.Catalog, **changed: Any) -> ResolvedConfig:
    """The configuration of a recipe on the pack ``size["pack"]``."""
    pack = {"name": "pack", "options": {"path": size["pack"]}}
    runtime = {key: size[key] for key in ("device", "threads")} | {"precision": PRECISION[size["precision"]]}
    tree = {
        "data": {"simulated": pack, "real": pack, **OFF},
        "evaluation": {"evaluator": "none"},
        "history": {"size": size["history"]},
        "schedule": {"batch": size["batch"], "patch": size.get("patch") or "none"},
        "optimizer": {"ema": "none"},  # the reference has no weight average
        "runtime": runtime | changed,
    }
    return synthreal.configure(catalog, tree, recipe=size["recipe"])


class LibraryWorkload(Workload):
    """The two streams, the game, and the refiner as a transform."""

    def __init__(self, size: dict[str, Any]) -> None:
        super().__init__(size)
        catalog = synthreal.Catalog.of([size["plugin"]])
        config = configured(size, catalog)
        configure_process(config.runtime)
        self.game = build_game(config, catalog, self.device)
        self.streams = [
            open_stream(config, catalog, role, device=self.device, run_dir=Path(size["folder"]))
            for role in ("simulated", "real")
        ]
        self.transform = synthreal.Refine(
            copy.deepcopy(self.game.refiner), channels=1, autocast=self.game.autocast, micro_batch=self.game.micro_batch
        )
        if self.device.type == "cuda":
            self.transform.refiner.compile(dynamic=False)
        self.position, self.catalog = 0, catalog
        self.fill()

    def fill(self) -> None:
        """Fill the history, as it is in all but the first steps of a run."""
        history, generator = self.game.history, self.game.generator
        while len(history) < self.size["history"]:
            history.push(self.images(64), generator)

    def images(self, count: int) -> torch.Tensor:
        """Images ``(count, 1, H, W)`` of the stream, cropped if the recipe trains on patches."""
        batch: torch.Tensor = self.streams[0].batch(0).image.repeat(-(-count // self.size["batch"]), 1, 1, 1)[:count]
        return batch if self.patch is None else batch[..., : self.patch, : self.patch]

    def draw(self) -> list[torch.Tensor]:
        """The batches of the next step. Patches are the upper left corners, which cost the same as random ones."""
        images = [self.streams[0].batch(self.position + i).image for i in range(3)]
        images.append(self.streams[1].batch(self.position // 3).image)
        self.position += 3
        if self.patch is None:
            return images
        return [image[..., : self.patch, : self.patch].contiguous() for image in images]

    def update_refiner(self, x: torch.Tensor) -> None:
        """One step of R."""
        update_refiner(self.game, x, adversarial=True)

    def update_discriminator(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """One step of D."""
        update_discriminator(self.game, x, y)

    def refined(self, x: torch.Tensor) -> torch.Tensor:
        """R(x), by the transform."""
        refined: torch.Tensor = self.transform(x)
        return refined

    def refine_pack(self, run: str, target: str) -> Spent:
        """Time ``synthreal refine`` from pack to pack."""
        refine = lambda: synthreal.refine_bulk(run, self.size["pack"], target, device=self.size["device"])  # noqa: E731
        return spent(refine, self.device, once=True)

    def gflop(self) -> dict[str, float]:
        """GFLOP per image, counted over the layers forward and backward; a multiply-add is two operations.

        Large images are counted on 32x32 px: their sides are multiples of 32, the product of the strides.
        """
        large = min(self.images(1).shape[-2:]) > WARM_PX
        small = {**self.size, "device": "cpu", "batch": 2, "history": 2}
        config = configured({**small, "patch": COUNT_PX} if large else small, self.catalog, compile=False)
        game = build_game(config, self.catalog, torch.device("cpu"))
        game.micro_batch = None
        whole = self.images(2).cpu()
        x = whole[..., :COUNT_PX, :COUNT_PX] if large else whole
        game.history.push(x, game.generator)
        scale = whole.numel() / x.numel() / len(x) / 1e9
        calls: dict[str, Callable[[], Any]] = {
            "refiner_update": lambda: update_refiner(game, x, adversarial=True),
            "discriminator_update": lambda: update_discriminator(game, x, x),
            "refine": lambda: synthreal.Refine(game.refiner, channels=1)(x),
        }
        return {name: scale * _flop(call) for name, call in calls.items()}

    def history(self, repeats: int) -> Spent:
        """Time pushing and drawing half a batch: the mean of ``repeats``."""
        fresh, game = self.images(self.size["batch"] // 2), self.game

        def exchange() -> None:
            game.history.draw(len(fresh), game.generator)
            game.history.push(fresh, game.generator)

        return self.repeated(exchange, repeats)

    def held(self) -> str:
        """The class of the source: ``Resident`` (on the device) or ``OnDisk``."""
        return type(self.streams[0].source).__name__


def _flop(call: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


workload = LibraryWorkload
