"""The workload of the reference: its steps on batches of a DataLoader. It imports nothing from the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from clock import Spent, spent
from reference import Block, Reference, discriminator, hand_discriminator, refiner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from workload import Workload


class ReferenceWorkload(Workload):
    """The reference and two loaders."""

    def __init__(self, size: dict[str, Any]) -> None:
        super().__init__(size)
        torch.set_num_threads(size["threads"])
        hands = size["plugin"] == "hands"
        generator = refiner(7, 10) if hands else refiner()
        classifier = hand_discriminator() if hands else discriminator()
        rate = 0.0002 * 7 * 7 if hands else 0.001 * 9 * 14
        self.game = Reference(generator.to(self.device), classifier.to(self.device), buffer=size["history"], rate=rate)
        self.shape = (1, self.patch or size["height"], self.patch or size["width"])
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

    def draw(self) -> list[Tensor]:
        """The batches of the next step."""
        return [next(loader) for loader in (*[self.loaders[0]] * 3, self.loaders[1])]

    def update_refiner(self, x: Tensor) -> None:
        """One step of R."""
        self.game.update_refiner(x)

    def update_discriminator(self, x: Tensor, y: Tensor) -> None:
        """One step of D."""
        self.game.update_discriminator(x, y)

    @torch.no_grad()
    def refined(self, x: Tensor) -> Tensor:
        """R(x), the whole batch at once."""
        return self.game.refine(x)

    def refine_pack(self, run: str, target: str) -> Spent:
        """The refiner from one HDF5 file to another in batches; ``run`` is not used."""
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
        """Time of a bare ``nn.Sequential`` of R's layers divided by that of R, forward and backward: about 1."""
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


def _flat(module: nn.Module) -> list[nn.Module]:
    return [module.first, nn.ReLU(), module.second, nn.ReLU()] if isinstance(module, Block) else [module]


workload = ReferenceWorkload
