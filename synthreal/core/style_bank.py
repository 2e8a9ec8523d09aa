"""The styles of real images as statistics, so that images take them where no real image is at hand.

Each kept real image is represented by the amplitudes of its low frequencies (:func:`~synthreal.core.styles.fda`) and by
256 of its grey or colour levels (:func:`~synthreal.core.styles.histogram`); the picture cannot be drawn from them. They
fit images of any size: frequencies are counted in cycles per image, levels by their share of the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal.core.styles import match_levels, swap_amplitudes

SIZE = 128  # real images of a bank
LEVELS = 256
VERSION_COUNT = 3  # of a refined image, one for each style


@dataclass(frozen=True)
class StyleBank:
    """Statistics of N real images of C channels, float32 on one device.

    Attributes:
        amplitudes: of the low frequencies, divided by the number of pixels: ``(N, C, 2 b + 3, b + 2)`` for frequencies
            of -b - 1 to b + 1 down and 0 to b + 1 across, in cycles per image; b is that of ``fda``.
        levels: ascending, at equal shares of the pixels, ``(N, C, 256)`` in [0, 1].
    """

    amplitudes: Tensor
    levels: Tensor

    @classmethod
    def of(cls, images: Tensor, *, beta: float) -> StyleBank:
        """The bank of real images ``(N, C, H, W)`` in [0, 1]; ``beta`` is that of ``fda``."""
        height, width = images.shape[-2:]
        reach = min(math.floor(min(height, width) * beta), min(height, width) // 2 - 1)
        spectra = torch.fft.rfft2(images, norm="forward").abs()
        down = torch.arange(-reach - 1, reach + 2, device=images.device) % height
        pixels = images.flatten(2).sort(dim=-1).values
        share = (torch.arange(LEVELS, device=images.device) + 0.5) / LEVELS
        return cls(spectra[..., down, : reach + 2], pixels[..., (share * pixels.shape[-1]).long()])

    def __len__(self) -> int:
        return len(self.levels)

    def to(self, device: torch.device) -> StyleBank:
        """The bank on a device."""
        return StyleBank(self.amplitudes.to(device), self.levels.to(device))

    def adapt(self, images: Tensor, rows: Tensor, version: int, *, blend: float) -> Tensor:
        """Refined images ``(B, C, H, W)`` in [0, 1] as their ``version``, the style from the real images ``rows (B,)``.

        Version 0 is unchanged, odd ones have the style ``fda``, other even ones ``histogram`` with weight ``blend``.
        """
        if version == 0:
            return images
        return self.fda(images, rows) if version % 2 else self.histogram(images, rows, blend=blend)

    def adapt_each(self, images: Tensor, rows: Tensor, versions: Tensor, *, blend: float) -> Tensor:
        """:meth:`adapt` with a version for each image, ``(B,)`` int64 in 0 to 2.

        ``rows`` and ``versions`` are on one device. Those on a GPU are waited for, those on the CPU are not.
        """
        adapted = images.clone()
        for version in range(1, VERSION_COUNT):
            chosen = (versions == version).nonzero()[:, 0]
            if len(chosen):
                here, style = (index.to(images.device, non_blocking=images.is_cuda) for index in (chosen, rows[chosen]))
                adapted[here] = self.adapt(images[here], style, version, blend=blend)
        return adapted

    def fda(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] in the style ``fda`` of the real images ``rows (B,)``."""
        height, width = images.shape[-2:]
        reach = min(self.amplitudes.shape[-1] - 2, min(height, width) // 2 - 1)
        down = torch.arange(-reach - 1, reach + 2, device=images.device)[:height]  # H / 2 is -H / 2
        kept = self.amplitudes[rows][..., down + self.amplitudes.shape[-1] - 1, : reach + 2]
        amplitudes = images.new_zeros(*images.shape[:-1], width // 2 + 1)
        amplitudes[..., down % height, : reach + 2] = kept * (height * width)
        return swap_amplitudes(images, amplitudes, reach)

    def histogram(self, images: Tensor, rows: Tensor, *, blend: float) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] in the style ``histogram`` of the real images ``rows (B,)``."""
        return match_levels(images, self.levels[rows], blend=blend)
