"""The reference of the benchmarks: the paper's step as a careful PyTorch user writes it.

Eager float32 in torch's default layout, each mini-batch in one pass, batches from a DataLoader, images refined again
for D, past images in a list on the host. It imports only torch. ``tests/test_reference.py`` checks that its losses
equal those of the library.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Block(nn.Module):
    """conv, ReLU, conv, add, ReLU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.second = nn.Conv2d(width, width, kernel, padding=kernel // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, width, H, W) -> same``."""
        return torch.relu(maps + self.second(torch.relu(self.first(maps))))


class Scaled(nn.Module):
    """Applies a network for images in [-1, 1] to images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """The output of the network for ``(B, C, H, W)`` in [0, 1]."""
        out: Tensor = self.network(2 * image - 1)
        return out


def refiner(kernel: int = 3, blocks: int = 4, width: int = 64) -> nn.Sequential:
    """R on images in [-1, 1] with a final tanh: the paper's for gaze; for hands, kernel 7 and 10 blocks."""
    stem = [nn.Conv2d(1, width, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*stem, *(Block(width, kernel) for _ in range(blocks)), nn.Conv2d(width, 1, 1), nn.Tanh())


def discriminator() -> nn.Sequential:
    """The paper's D for gaze; the last two maps are real and refined."""
    return nn.Sequential(
        nn.Conv2d(1, 96, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(96, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 2, 1),
    )


def hand_discriminator() -> nn.Sequential:
    """The paper's D for hands."""
    return nn.Sequential(
        nn.Conv2d(1, 96, 7, stride=4, padding=3),
        nn.ReLU(),
        nn.Conv2d(96, 64, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(64, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 1),
        nn.ReLU(),
        nn.Conv2d(32, 2, 1),
    )


class Reference:
    """R, D, their optimizers and the history.

    Args:
        refiner: R on images in [-1, 1].
        discriminator: D on images in [-1, 1], ``-> (B, 2, h, w)``.
        weight: lambda on mean |R(x) - x| of [0, 1] images.
        buffer: size of the history.
        rate: learning rate of SGD.
    """

    def __init__(
        self,
        refiner: nn.Module,
        discriminator: nn.Module,
        *,
        weight: float = 1.0,
        buffer: int = 51_200,
        rate: float = 0.126,
    ) -> None:
        self.refiner, self.discriminator = Scaled(refiner), Scaled(discriminator)
        self.weight, self.buffer = weight, buffer
        self.past: list[Tensor] = []
        self.optimizer_refiner = torch.optim.SGD(refiner.parameters(), lr=rate)
        self.optimizer_discriminator = torch.optim.SGD(discriminator.parameters(), lr=rate)

    def refine(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` in [0, 1] to the same."""
        return (self.refiner(image) + 1) / 2

    def logits(self, image: Tensor) -> Tensor:
        """``(B, h, w)``, > 0 means refined."""
        real, refined = self.discriminator(image).unbind(1)
        return torch.sub(refined, real)

    def update_refiner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One step on Eq. 4; returns the adversarial loss and the regularization."""
        refined = self.refine(x)
        adversarial = softplus(self.logits(refined)).mean()
        regularization = (refined - x).abs().mean()
        self.optimizer_refiner.zero_grad()
        self.discriminator.requires_grad_(False)
        (adversarial + self.weight * regularization).backward()
        self.discriminator.requires_grad_(True)
        self.optimizer_refiner.step()
        return adversarial.detach(), regularization.detach()

    def update_discriminator(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on Eq. 2 with half of the refined images from the history; returns the loss of D."""
        with torch.no_grad():
            refined = self.refine(x)
        half = len(x) // 2
        fresh = refined[:half].cpu()
        if len(self.past) >= half:
            refined = torch.cat([refined[:half], torch.stack(random.sample(self.past, half)).to(x.device)])
        for image in fresh:
            if len(self.past) < self.buffer:
                self.past.append(image)
            else:
                self.past[random.randrange(self.buffer)] = image
        loss = softplus(-self.logits(refined)).mean() + softplus(self.logits(y)).mean()
        self.optimizer_discriminator.zero_grad()
        loss.backward()
        self.optimizer_discriminator.step()
        return loss.detach()
