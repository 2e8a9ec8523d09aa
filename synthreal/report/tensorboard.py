"""The log and the sheets as TensorBoard events."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from synthreal.errors import UserError
from synthreal.files import write_errors
from synthreal.images.picture import picture_problem
from synthreal.report.record import Record
from synthreal.train.log import numbers
from synthreal.train.loggers.tensorboard import TensorBoard

SUFFIX = ".synthreal"


def write_events(record: Record, folder: Path) -> None:
    """Write the numbers of the log by step, and the sheets as images.

    Events of an earlier call are replaced, other files are preserved. Raises ``UserError`` for a damaged sheet, or a
    folder that cannot be written.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
        with closing(TensorBoard(folder, suffix=SUFFIX)) as board:
            for line in record.log:
                board.log(line["step"], dict(numbers(line)))
            for step, path in record.sheets:
                board.log_image("sheet", _pixels(path), step)


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # decoders raise anything on broken bytes
        raise UserError(f"{path}: {picture_problem(error)}; delete it") from error
