"""The camera data set: hands measured by a synthetic structured-light sensor, with disjoint people per role.

Kinematics and crop are the simulator's (:mod:`synthreal_hands.scene`), so labels have the same meaning. Hand shapes
come from a fixed table indexed by identity number; each role has its own range of numbers. The depth passes through the
errors modelled in :mod:`synthreal_hands.sensor`.
"""

from __future__ import annotations

import functools

import torch
from pydantic import Field
from torch import Tensor

from synthreal import Batch, Options
from synthreal_hands import sensor
from synthreal_hands.cube import CUBE_MM, FX, RealRole
from synthreal_hands.scene import SCENE_COLUMNS, Ranges, Scene
from synthreal_hands.skeleton import SHAPE_COLUMNS, Shape

IDENTITIES: dict[RealRole, tuple[int, int]] = {
    "real": (0, 120),
    "real_labelled": (120, 200),
    "validation": (200, 240),
    "test": (240, 320),
}
TABLE_SEED = 1612_07829
SENSOR_COLUMNS = 8
WINDOW_PX = 3.0  # px of the frame, size of the sensor's correlation window
RANGES = Ranges(yaw=40.0, pitch=(-30.0, 25.0), roll=35.0, distance=(650.0, 1000.0), jitter=8.0)


class CameraOptions(Options):
    """Strength of the sensor errors; 0 turns an error off."""

    noise: float = Field(1.0, ge=0, le=4, description="Factor on noise and quantisation of the disparity.")
    edges: float = Field(1.0, ge=0, le=4, description="Factor on ragged silhouettes and mixed pixels.")
    missing: float = Field(1.0, ge=0, le=4, description="Factor on holes and on missing pixels beside edges.")
    shadow: bool = Field(True, description="Whether nearer surfaces cast shadows in the projected light.")


@functools.lru_cache(maxsize=4)
def identity_table(device: torch.device) -> Tensor:
    """The parameters of all people: ``(320, 16)`` in [0, 1), the same in every process and on every device."""
    last = max(stop for _, stop in IDENTITIES.values())
    return torch.rand(last, SHAPE_COLUMNS, generator=torch.Generator().manual_seed(TABLE_SEED)).to(device)


def render_camera(options: CameraOptions, n: int, generator: torch.Generator, role: RealRole, side: int) -> Batch:
    """Render ``n`` frames of a role's people, ``(n, 1, side, side)``. Labels are exact; role "real" has none."""
    device = generator.device
    person = torch.randint(*IDENTITIES[role], (n,), generator=generator, device=device)
    shape = Shape.of(identity_table(device)[person], spread=1.3)
    scene = Scene.of(shape, torch.rand(n, SCENE_COLUMNS, generator=generator, device=device), RANGES, side)
    depth, _ = scene.depth()
    image = scene.crop.to_unit(measure(depth, scene, options, generator))[:, None]
    return Batch(image, {} if role == "real" else scene.labels())


def measure(depth: Tensor, scene: Scene, options: CameraOptions, generator: torch.Generator) -> Tensor:
    """Measure true depth ``(n, S, S)`` mm, with one sensor per image; inf where nothing is measured."""
    columns = torch.rand((SENSOR_COLUMNS, len(depth), 1, 1), generator=generator, device=depth.device)
    pitch = scene.crop.pitch.mean(-1)[:, None, None]
    baseline = 60 + 25 * columns[0]
    wall = scene.crop.centre[:, 2, None, None] + 250 + 600 * columns[1]
    if options.shadow:
        dark = sensor.shadow_mask(torch.where(torch.isfinite(depth), depth, wall), baseline, pitch)
        depth = torch.where(dark, sensor.INF, depth)
    depth = sensor.smooth(depth, 0.8 * columns[2])
    depth = sensor.displace_edges(
        depth, options.edges * (1.5 + 1.5 * columns[3]), pitch, window_px(depth.shape[-1]), generator
    )
    depth = sensor.mix_edges(depth, options.edges * (0.05 + 0.2 * columns[4]), generator)
    depth = sensor.drop_pixels(
        depth, options.missing * 0.05 * columns[5], options.missing * 0.16 * columns[6], generator
    )
    noise = options.noise * (0.08 + 0.22 * columns[7])
    return sensor.add_noise(depth, noise, options.noise * torch.full_like(noise, 0.125) + 1e-6, baseline, generator)


def window_px(side: int) -> int:
    """Size of the sensor's correlation window in px of a crop of ``side`` px, at the mean distance."""
    pitch = CUBE_MM * FX / (sum(RANGES.distance) / 2) / side
    return max(1, round(WINDOW_PX / pitch))
