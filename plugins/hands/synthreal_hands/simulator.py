"""The hand simulator: clean depth images, like NYU's renders, rendered on demand."""

from __future__ import annotations

import torch
from pydantic import Field

from synthreal import Batch, LabelSpec, Options
from synthreal_hands.cube import CROP, JOINTS, XYZ
from synthreal_hands.scene import OUTLINE, SCENE_COLUMNS, Ranges, Scene
from synthreal_hands.skeleton import SHAPE_COLUMNS, Shape


class SimulatorOptions(Options):
    """Ranges of the view, wider than the camera's. Hand shapes vary less, as is typical of a simulator."""

    yaw_deg: float = Field(45.0, ge=0, le=180, description="Rotation about the long axis of the hand, +/- degrees.")
    pitch_deg: float = Field(
        35.0, ge=0, le=80, description="Tilt of the fingers towards or away from the camera, +/- degrees."
    )
    roll_deg: float = Field(40.0, ge=0, le=180, description="Deviation of the fingers from up, +/- degrees.")
    jitter_mm: float = Field(
        8.0, ge=0, le=40, description="Maximum offset of the cube from the centre of the hand, mm."
    )


def simulator_labels(side: int) -> tuple[LabelSpec, ...]:
    """The label specs of simulated crops of ``side`` px."""
    return (JOINTS, XYZ, CROP, OUTLINE, LabelSpec("parts", (side, side), "0 nothing, 1 arm, 2 palm, 3-7 thumb..index"))


def render_simulator(options: SimulatorOptions, n: int, generator: torch.Generator, side: int) -> Batch:
    """Render ``n`` clean hands with exact labels: depth ``(n, 1, side, side)`` on the generator's device."""
    device = generator.device
    shape = Shape.of(torch.rand(n, SHAPE_COLUMNS, generator=generator, device=device), spread=1.0)
    pitch = (-options.pitch_deg, options.pitch_deg)
    ranges = Ranges(options.yaw_deg, pitch, options.roll_deg, (650.0, 1000.0), options.jitter_mm)
    scene = Scene.of(shape, torch.rand(n, SCENE_COLUMNS, generator=generator, device=device), ranges, side)
    depth, part = scene.depth()
    image = scene.crop.to_unit(depth)[:, None]
    part = torch.where(image[:, 0] < 1, part, torch.zeros_like(part))
    return Batch(image, {**scene.labels(), OUTLINE.name: scene.outline(), "parts": part})
