"""The interface of a benchmark workload, implemented by the library and by the reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from clock import Spent, peak_mb, spent
from torch import Tensor

WARM_PX = 96


class Workload(ABC):
    """R, D, a full history, and batches to train on. The timing methods return seconds.

    Args:
        size: the parameters of the workload: ``plugin``, ``batch``, ``device``, ``patch`` and others.
    """

    def __init__(self, size: dict[str, Any]) -> None:
        self.size, self.device, self.patch = size, torch.device(size["device"]), size.get("patch")

    @abstractmethod
    def images(self, count: int) -> Tensor:
        """Images ``(count, 1, H, W)`` in the size used for training."""

    @abstractmethod
    def draw(self) -> list[Tensor]:
        """The batches of the next step: three simulated, one real."""

    @abstractmethod
    def update_refiner(self, x: Tensor) -> Any:
        """One step of R."""

    @abstractmethod
    def update_discriminator(self, x: Tensor, y: Tensor) -> Any:
        """One step of D."""

    @abstractmethod
    def refined(self, x: Tensor) -> Tensor:
        """R(x) without gradients."""

    def warm(self, count: int) -> None:
        """Run everything once on a few images, or on a corner of large images, which the history cannot store."""
        x = self.images(count)
        self.update_refiner(x[..., :WARM_PX, :WARM_PX])
        if max(x.shape[-2:]) <= WARM_PX:
            self.update_discriminator(x, x)
        self.draw()

    def step(self) -> dict[str, Spent]:
        """Time K_g = 2 updates of R and one of D on new batches: the seconds of each part."""
        batches: list[list[Tensor]] = []
        data = self.spent(lambda: batches.append(self.draw()))
        *simulated, real = batches[-1]
        first, second = (self.spent(lambda x=x: self.update_refiner(x)) for x in simulated[:2])
        return {
            "data": data,
            "refiner_update": {clock: (first[clock] + second[clock]) / 2 for clock in first},
            "discriminator_update": self.spent(lambda: self.update_discriminator(simulated[2], real)),
        }

    def update(self, count: int) -> Spent:
        """Time one update of R on ``count`` images."""
        x = self.images(count)
        return self.spent(lambda: self.update_refiner(x))

    def refine(self, count: int | None = None) -> Spent:
        """Time the refiner on a batch."""
        x = self.images(count or self.size["batch"])
        return self.spent(lambda: self.refined(x))

    def data(self, repeats: int) -> Spent:
        """Time the batches of one step, three simulated and one real: the mean of ``repeats``."""
        return self.repeated(self.draw, repeats)

    def peak(self) -> float:
        """Peak memory, MB."""
        return peak_mb(self.device)

    def spent(self, call: Callable[[], Any]) -> Spent:
        """The seconds of a call."""
        return spent(call, self.device)

    def repeated(self, call: Callable[[], Any], repeats: int) -> Spent:
        """The mean seconds of ``repeats`` calls, after one warm-up."""
        call()
        total = self.spent(lambda: [call() for _ in range(repeats)])
        return {clock: seconds / repeats for clock, seconds in total.items()}
