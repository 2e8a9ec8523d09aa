"""The reference's side of a comparison: its step on batches of a DataLoader. It imports nothing of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from clock import Spent, peak_mb, spent
from reference import Block, Reference, discriminator, hand_discriminator, refiner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WARM_PX = 96


class Plain:
    """Both players, a full history and two loaders."""

    def __init__(self, size: dict[str, Any]) -> None:
        torch.set_num_threads(size["threads"])
        self.size, self.device = size, torch.device(size["device"])
        hands = size["plugin"] == "hands"
        painter = refiner(7, 10) if hands else refiner()
        judge = hand_discriminator() if hands else discriminator()
        rate = 0.0002 * 7 * 7 if hands else 0.001 * 9 * 14
        self.game = Reference(painter.to(self.device), judge.to(self.device), buffer=size["history"], rate=rate)
        patch = size.get("patch")
        self.shape = (1, patch or size["height"], patch or size["width"])
        self.game.past = [torch.rand(self.shape) for _ in range(size["history"])]
        self.loaders = [self._loader(), self._loader()]

    def _loader(self) -> Iterator[Tensor]:
        images = TensorDataset(torch.rand(max(self.size["batch"], self.size["images"]), *self.shape))
        gpu = self.device.type == "cuda"
        loader = DataLoader(
            images,
            self.size["batch"],
            shuffle=True,
            drop_last=True,
            pin_memory=gpu,
            num_workers=4 if gpu else 0,
            persistent_workers=gpu,
        )
        while True:
            for (batch,) in loader:
                yield batch.to(self.device, non_blocking=True)

    def images(self, count: int) -> Tensor:
        """Images ``(count, 1, H, W)``."""
        return torch.rand(count, *self.shape, device=self.device)

    def warm(self, count: int) -> None:
        """Do everything once, on a few images; of large ones on a corner, which the history cannot take."""
        x = self.images(count)
        self.game.update_refiner(x[..., :WARM_PX, :WARM_PX])
        if max(x.shape[-2:]) <= WARM_PX:
            self.game.update_discriminator(x, x)
        for loader in self.loaders:
            next(loader)

    def step(self) -> dict[str, Spent]:
        """K_g = 2 updates of R and one of D on fresh batches: the seconds of each part."""
        batches: list[Tensor] = []

        def draw() -> None:
            batches[:] = [next(loader) for loader in (*[self.loaders[0]] * 3, self.loaders[1])]

        data = spent(draw, self.device)
        *simulated, real = batches
        first, second = (spent(lambda x=x: self.game.update_refiner(x), self.device) for x in simulated[:2])
        last = spent(lambda: self.game.update_discriminator(simulated[2], real), self.device)
        mean = {key: (first[key] + second[key]) / 2 for key in first}
        return {"data": data, "refiner_update": mean, "discriminator_update": last}

    def refine(self, count: int | None = None) -> Spent:
        """The refiner on a batch."""
        x = self.images(count or self.size["batch"])
        with torch.no_grad():
            return spent(lambda: self.game.refine(x), self.device)

    def refine_pack(self, run: str, target: str) -> Spent:
        """The refiner from one HDF5 file to another in batches; ``run`` is the other side's."""
        import h5py

        def refine() -> None:
            with h5py.File(self.size["pack"]) as source, h5py.File(target, "w") as written:
                images = source["image"]
                out = written.create_dataset("image", images.shape, images.dtype)
                for start in range(0, len(images), self.size["batch"]):
                    x = torch.from_numpy(images[start : start + self.size["batch"]]).to(self.device).float() / 255
                    y = (self.game.refine(x) * 255).round().clamp(0, 255).to(torch.uint8)
                    out[start : start + len(y)] = y.cpu().numpy()

        with torch.no_grad():
            return spent(refine, self.device, once=True)

    def bare(self, repeats: int, count: int = 32) -> float:
        """Seconds of a bare ``nn.Sequential`` of R's layers over R's own, forwards and backwards: about 1."""
        x, network = self.images(count), self.game.refiner.network
        layers = [part for module in network for part in _flat(module)]
        bare = nn.Sequential(*layers)
        calls: tuple[Callable[[], Any], ...] = (
            lambda: bare(2 * x - 1).sum().backward(),
            lambda: network(2 * x - 1).sum().backward(),
        )
        found = [[spent(call, self.device)["wall"] for call in calls] for _ in range(repeats + 1)][1:]
        ratios = sorted(bare_seconds / seconds for bare_seconds, seconds in found)
        return ratios[len(ratios) // 2]

    def peak(self) -> float:
        """Largest memory so far, MB."""
        return peak_mb(self.device)

    def data(self, repeats: int) -> Spent:
        """The batches of one step, three simulated and one real: the mean of some."""

        def draw() -> None:
            for _ in range(repeats):
                for loader in (*[self.loaders[0]] * 3, self.loaders[1]):
                    next(loader)

        return {clock: seconds / repeats for clock, seconds in spent(draw, self.device).items()}


def _flat(module: nn.Module) -> list[nn.Module]:
    return [module.first, nn.ReLU(), module.second, nn.ReLU()] if isinstance(module, Block) else [module]


player = Plain
