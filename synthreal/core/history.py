"""The history of refined images: D keeps seeing earlier outputs of R, so R cannot return to old artefacts.

Source: SimGAN 2.3. The buffer is preallocated on the device and holds ``size`` images. Each update of D uses b/2 new
and b/2 past images; then the new half replaces b/2 random slots, or is appended while the buffer fills.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}


class History:
    """A buffer of ``size`` past refined images ``(C, H, W)`` on the device; "uint8" quantises them to 256 levels."""

    def __init__(self, size: int, shape: tuple[int, int, int], *, dtype: str = "uint8", device: torch.device) -> None:
        self.images = torch.zeros((size, *shape), dtype=DTYPES[dtype], device=device)
        self.filled = 0

    def __len__(self) -> int:
        return self.filled

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw ``count <= len(self)`` distinct past images, float32 ``(count, C, H, W)`` in [0, 1]."""
        if count > self.filled:
            raise ValueError(f"history holds {self.filled} images, {count} requested")
        slots = torch.randperm(self.filled, generator=generator, device=self.images.device)[:count]
        past = self.images.index_select(0, slots)
        return past.float() / 255 if past.dtype == torch.uint8 else past.float()

    def push(self, images: Tensor, generator: torch.Generator) -> None:
        """Store images ``(n, C, H, W)`` in [0, 1]: append while there is room, then replace random slots."""
        size = self.images.shape[0]
        stored = images.detach()
        if self.images.dtype == torch.uint8:
            stored = (stored * 255).round_().clamp_(0, 255).to(torch.int16)  # directly to uint8 takes 5 times as long
        stored = stored[:size].to(self.images.dtype)
        room = min(size - self.filled, stored.shape[0])
        rest = stored.shape[0] - room
        if rest:
            slots = torch.randperm(self.filled, generator=generator, device=self.images.device)[:rest]
            self.images[slots] = stored[room:]
        self.images[self.filled : self.filled + room] = stored[:room]
        self.filled += room

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {"images": self.images[: self.filled].cpu(), "filled": self.filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.filled = int(state["filled"])
        self.images[: self.filled] = state["images"].to(self.images.device)
