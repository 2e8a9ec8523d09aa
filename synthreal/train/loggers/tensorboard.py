"""TensorBoard events."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np


class TensorBoard:
    """Events in a folder. Those at ``purge_step`` and later that are in it already are no longer shown."""

    def __init__(self, folder: Path, *, suffix: str = "", purge_step: int | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TensorBoard's own dependencies
            from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), filename_suffix=suffix, purge_step=purge_step)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Add scalars by tag."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def log_image(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Add an image ``(H, W, 3)``, uint8."""
        self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def close(self, *, finished: bool = True) -> None:
        """Write what is pending."""
        self._writer.close()
