"""The log and the sheets as TensorBoard events."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthreal.errors import UserError
from synthreal.files import write_errors
from synthreal.images.picture import picture_problem
from synthreal.report.record import Record, is_number

SUFFIX = ".synthreal"


def write_events(record: Record, folder: Path) -> None:
    """Write the numbers of the log by step, and the sheets as images.

    Events of an earlier call are replaced, other files are preserved. Raises ``UserError`` for a damaged sheet, or a
    folder that cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TensorBoard's own dependencies
        from torch.utils.tensorboard import SummaryWriter

    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
        with SummaryWriter(str(folder), filename_suffix=SUFFIX) as writer:
            for line in record.log:
                for tag, value in numbers(line):
                    writer.add_scalar(tag, value, line["step"])
            for step, path in record.sheets:
                writer.add_image("sheet", _pixels(path), step, dataformats="HWC")


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # decoders raise anything on broken bytes
        raise UserError(f"{path}: {picture_problem(error)}; delete it") from error


def numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Tags and values of the finite numbers of a log line, without its step; nested tags look like ``quality/kid``."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif is_number(value) and (prefix or name != "step"):
            yield f"{prefix}{name}", float(value)
