"""Offset, slope and scatter by hand, and what calibration with a few photographs removes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import CENTRE, synthreal_evaluators

from synthreal.data.ondisk import OnDisk
from synthreal.data.pack import Pack
from synthreal.data.resident import Resident
from synthreal.data.writer import PackWriter
from synthreal.evaluation.calibration import (
    CHOICES,
    Causes,
    Correction,
    Line,
    Photographs,
    find_causes,
    has_quantities,
    summarize_causes,
)
from synthreal.evaluation.estimator import measure
from synthreal.hooks.estimators import CLASSIFICATION, REGRESSION, Numbers
from synthreal.spec import ImageSpec, LabelSpec

SPEC = synthreal_evaluators()[0]
IMAGE = ImageSpec(channels=1, height=2, width=1)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def dots(n, seed=0):
    """Images ``(n, 1, 2, 1)`` whose two pixels are x and y of the label in 1/255 px, and the labels ``(n, 1, 2)``."""
    pixels = torch.randint(50, 200, (n, 1, 2, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Resident(pixels, {"centre": pixels.reshape(n, 1, 2).float()})


class Reads(nn.Module):
    """Answers a * truth + b of :func:`dots`, and pseudo-random noise that depends on the image."""

    def __init__(self, a=1.0, b=0.0, noise=0.0):
        super().__init__()
        self.a, self.b, self.noise = a, b, noise

    def forward(self, image):
        truth = 255 * image.reshape(len(image), 1, 2)
        return self.a * truth + self.b + self.noise * torch.sin(truth * truth)


def photographs(n=100, count=9):
    return Photographs.choose(dots(n, seed=1), count, trained=0)


def test_offset_slope_and_scatter_by_hand():
    """Predictions 1, 4, 4, 7 of 0, 1, 2, 3: around the means -3, 0, 0, 3 over -1.5, -0.5, 0.5, 1.5; slope 9 / 5."""
    line = Line.of(column(1, 4, 4, 7), column(0, 1, 2, 3))
    assert line.offset.tolist() == [2.5] and line.slope.tolist() == pytest.approx([1.8])
    assert line.scatter.tolist() == pytest.approx([math.sqrt((0.3**2 + 0.9**2 + 0.9**2 + 0.3**2) / 4)])
    squared = 2.5**2 + 0.8**2 * 1.25 + float(line.scatter) ** 2
    assert squared == pytest.approx((1 + 9 + 4 + 16) / 4)


def test_a_constant_truth_has_no_slope():
    line = Line.of(column(1.0, 3.0), column(0.1, 0.1))
    assert math.isnan(line.slope) and line.scatter.tolist() == [1.0] and line.offset.tolist() == pytest.approx([1.9])
    (found,) = summarize_causes([("simulated", Causes({"x_px": line}))]).values()
    assert found.quantities["x_px"].slope == (None,) and found.error is None


def test_a_correction_is_shrunk_towards_slope_1_and_a_shift_alone_for_few_images():
    """The line of least squares has scale 0.5; the ridge counts three more images of scale 1."""
    predicted = torch.arange(9, dtype=torch.float64)[:, None]
    fitted = Correction.fit(predicted, 0.5 * predicted + 3)
    assert fitted.scale.tolist() == pytest.approx([1 - 0.5 * 9 / 12])
    assert fitted.apply(predicted).mean() == pytest.approx(float((0.5 * predicted + 3).mean()))
    few = Correction.fit(predicted[:4], 0.5 * predicted[:4] + 3)
    assert few.scale.tolist() == [1.0] and few.shift.tolist() == pytest.approx([3 - 0.75])
    constant = Correction.fit(column(*[0.1] * 9), predicted)
    assert constant.scale.tolist() == [1.0] and float(constant.apply(column(0.1))) == pytest.approx(4)


@pytest.mark.parametrize("count", [1, 9])
def test_calibration_removes_a_constant_offset_exactly(count):
    model, test = Reads(b=7.0), dots(40)
    assert float(measure(SPEC, model, test)["error_px"].mean()) == pytest.approx(7 * math.sqrt(2))
    causes = find_causes(SPEC, model, test, photographs(count=count))
    assert causes.images == count and causes.corrected.shape == (CHOICES,)
    assert float(causes.corrected.max()) < 1e-3
    for name in ("centre[0] (px)", "centre[1] (px)"):
        line = causes.lines[name]
        assert [float(value) for value in line] == pytest.approx([7, 1, 0], abs=1e-3)


def test_scatter_remains_and_more_photographs_correct_a_slope_better():
    scattered = find_causes(SPEC, Reads(b=7.0, noise=5.0), dots(400), photographs())
    plain = float(measure(SPEC, Reads(noise=5.0), dots(400))["error_px"].mean())
    assert 0.9 * plain < float(scattered.corrected.mean()) < 1.5 * plain
    steep = [
        float(find_causes(SPEC, Reads(a=2.0), dots(50), photographs(count=n)).corrected.mean()) for n in (1, 9, 50)
    ]
    assert steep[0] > 2 * steep[1] > 4 * steep[2]


def test_the_correction_does_not_see_the_labels_of_the_test():
    """Test labels that are all moved by 3 px make every corrected answer wrong by as much."""
    test, source = dots(30), photographs()
    moved = Resident(test.image, {"centre": test.labels["centre"] + 3})
    errors = find_causes(SPEC, Reads(b=7.0), moved, source).corrected
    assert errors.tolist() == pytest.approx([3 * math.sqrt(2)] * CHOICES, rel=1e-4)


def test_photographs_are_the_same_for_every_estimator_and_not_those_that_real_was_trained_on():
    first, second = photographs(), photographs()
    assert torch.equal(first.rows, second.rows) and len(set(first.rows.tolist())) == 100
    assert len(first.choices) == CHOICES and all(map(torch.equal, first.choices, second.choices))
    assert not torch.equal(first.choices[0], first.choices[1])
    assert all(len(set(choice.tolist())) == 9 for choice in first.choices)
    assert len(photographs(n=500, count=3).rows) == 60
    assert int(Photographs.choose(dots(100), 9, trained=80).rows.min()) == 80
    assert int(Photographs.choose(dots(100), 9, trained=95).rows.min()) == 0
    few = Photographs.choose(dots(5), 9, trained=5000)
    (everything,) = few.choices
    assert sorted(few.rows[everything].tolist()) == list(range(5))


def test_photographs_of_a_pack_on_disk_are_those_of_memory(tmp_path):
    held = dots(30)
    with PackWriter(tmp_path / "a.h5", image=IMAGE, labels=(CENTRE,), role="real_labelled", name="mine") as writer:
        writer.append(held.image.numpy(), {"centre": held.labels["centre"].numpy()})
    with Pack(tmp_path / "a.h5") as pack:
        rows, names = torch.arange(30).numpy(), ("centre",)
        disk = OnDisk(pack, device=torch.device("cpu"), rows=rows, names=names, budget_bytes=1 << 20)
        for one, other in zip(*(Photographs.choose(source, 4, trained=0) for source in (held, disk)), strict=True):
            assert torch.equal(one.image, other.image) and torch.equal(one.labels["centre"], other.labels["centre"])


def test_without_photographs_the_causes_are_still_told_apart():
    causes = find_causes(SPEC, Reads(b=7.0), dots(20), None)
    assert set(causes.lines) == {"centre[0] (px)", "centre[1] (px)"} and causes.corrected is None


def test_numbers_of_the_built_in_estimator_are_corrected_each():
    class Two(Reads):
        def forward(self, image):
            return Numbers(super().forward(image)[:, 0] + torch.tensor([5.0, -3.0]), torch.tensor([10.0, 10.0]))

    test, pool = (
        Resident(source.image, {"values": source.labels["centre"][:, 0]}) for source in (dots(20), dots(50, seed=1))
    )
    causes = find_causes(REGRESSION, Two(), test, Photographs.choose(pool, 9, trained=0))
    offsets = {name: round(float(line.offset), 3) for name, line in causes.lines.items()}
    assert offsets == {"values[0] (as given)": 5.0, "values[1] (as given)": -3.0}
    assert float(causes.corrected.max()) < 1e-3


def test_classes_and_predictions_of_another_shape_have_no_offset():
    classes = Resident(dots(20).image, {"class": torch.randint(2, (20,))})
    logits = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    assert not has_quantities(CLASSIFICATION, logits, classes)
    other = replace(SPEC, metrics=lambda pred, labels: {"error_px": pred[:, 0]})
    assert not has_quantities(other, logits, dots(20)) and has_quantities(SPEC, Reads(), dots(20))
    assert summarize_causes([("simulated", None)]) == {}


def test_the_pixels_of_a_map_are_no_quantities():
    """100 corrections of every pixel would take memory and time that no table is worth."""
    for side, numbers in ((40, True), (50, False)):
        image = torch.randint(0, 256, (3, 1, side, side), dtype=torch.uint8)
        maps = Resident(image, {"depth": torch.rand(3, side, side)})
        spec = replace(SPEC, requires=(LabelSpec("depth", (side, side), "m"),))
        assert has_quantities(spec, nn.Flatten(1, 2), maps) == numbers


def test_the_summary_is_the_mean_over_estimators_and_the_spread_over_photographs():
    lines = [{"x_px": Line(column(offset)[0], column(1.0)[0], column(2.0)[0])} for offset in (1.0, 3.0)]
    errors = [torch.tensor(values, dtype=torch.float64) for values in ([1.0, 3.0], [4.0, 4.0])]
    found = summarize_causes(("simulated", Causes(*each)) for each in zip(lines, (9, 9), errors, strict=True))
    assert found["simulated"].model_dump() == {
        "quantities": {"x_px": {"offset": (2.0,), "slope": (1.0,), "scatter": (2.0,)}},
        "images": 9,
        "error": 3.0,
        "std": pytest.approx(math.sqrt(2) / 2),
    }
