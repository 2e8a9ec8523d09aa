"""Properties of both simulator and camera."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from synthreal import Batch
from synthreal_gaze.camera import CameraOptions, render_camera
from synthreal_gaze.eye import LABELS
from synthreal_gaze.geometry import EYE
from synthreal_gaze.simulator import SimulatorOptions, render_simulator

Draw = Callable[[int], Batch]


def simulated(seed: int = 0) -> Batch:
    return render_simulator(SimulatorOptions(), 64, torch.Generator().manual_seed(seed))


def photographed(seed: int = 0) -> Batch:
    return render_camera(CameraOptions(), 64, torch.Generator().manual_seed(seed), "test")


pytestmark = pytest.mark.parametrize("draw", [simulated, photographed])


def test_images_and_labels_match_the_specs(draw: Draw):
    batch = draw(0)
    assert batch.image.shape == (64, *EYE.shape)
    assert batch.image.dtype == torch.float32
    assert torch.equal((batch.image * 255).round().div(255), batch.image)
    found = {name: tuple(values.shape) for name, values in batch.labels.items()}
    assert found == {label.name: (64, *label.shape) for label in LABELS}


def test_the_generator_determines_images_and_labels(draw: Draw):
    one, same, other = draw(0), draw(0), draw(1)
    assert torch.equal(one.image, same.image)
    assert all(torch.equal(one.labels[name], same.labels[name]) for name in one.labels)
    assert not torch.equal(one.image, other.image)
