"""TensorBoard reads back the log and the sheets."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthreal.errors import UserError
from synthreal.report.record import read_record
from synthreal.report.tensorboard import write_events

pytest.importorskip("tensorboard")


def read_back(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
        events.Reload()
    return events


def test_numbers_and_sheets_come_back(full, cli):
    done = cli("report", full, "--tensorboard", "events").ok()
    assert "tensorboard --logdir events" in done.out
    record, events = read_record(full), read_back("events")
    named = {
        "loss_adversarial", "loss_regularization", "loss_discriminator", "accuracy_real", "accuracy_refined",
        "images_per_second", "quality/kid", "quality/sliced_wasserstein", "quality/spectrum", "quality/change",
        "quality/diversity", "quality/score",
    }  # fmt: skip
    assert set(events.Tags()["scalars"]) == named
    for tag in named:
        steps, values = record.series(*tag.split("/"))
        found = events.Scalars(tag)
        assert [one.step for one in found] == steps
        assert [one.value for one in found] == pytest.approx(values, rel=1e-6)
    sheets = events.Images("sheet")
    assert [one.step for one in sheets] == [2, 5, 8, 11]
    with Image.open(BytesIO(sheets[0].encoded_image_string)) as image, Image.open(record.sheets[0][1]) as drawn:
        assert np.array_equal(np.asarray(image), np.asarray(drawn))


def test_events_are_replaced(full):
    record = read_record(full)
    Path("events").mkdir()
    Path("events/events.out.tfevents.1.other").write_bytes(b"")
    for _ in range(2):
        write_events(record, Path("events"))
    assert len(list(Path("events").iterdir())) == 2  # other events are preserved
    assert len(read_back("events").Scalars("loss_regularization")) == len(record.series("loss_regularization")[0])


@pytest.mark.parametrize("damage", [lambda sheet: sheet[:200], lambda sheet: sheet[:8] + bytes(50)])
def test_a_damaged_sheet_is_one_line(full, cli, damage):
    path = full / "sheets/step-00000005.png"
    path.write_bytes(damage(path.read_bytes()))
    line = cli("report", full, "--tensorboard", "events").complaint()
    assert str(path) in line and "delete it" in line and "cannot write" not in line


def test_an_unwritable_folder(full):
    Path("file").write_text("mine")
    for place in ("file", "file/below"):
        with pytest.raises(UserError, match=r"file.*: cannot write"):
            write_events(read_record(full), Path(place))
    assert Path("file").read_text() == "mine"
