"""The depth-camera domain: other people's hands as a structured-light sensor measures them.

The kinematics and the crop are the simulator's (:mod:`synthreal_hands.scene`), so labels mean the same; shapes belong
to people from a fixed table indexed by identity number, each role owning its own numbers, and the depth goes through
the faults of :mod:`synthreal_hands.sensor`.
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
WINDOW_PX = 3.0  # px of the frame that a correlation window decides as one
RANGES = Ranges(yaw=40.0, pitch=(-30.0, 25.0), roll=35.0, distance=(650.0, 1000.0), jitter=8.0)


class CameraOptions(Options):
    """How bad the sensor is; 0 switches a fault off."""

    noise: float = Field(1.0, ge=0, le=4, description="Factor on the noise and on the steps of disparity.")
    edges: float = Field(1.0, ge=0, le=4, description="Factor on ragged silhouettes and on mixed pixels.")
    missing: float = Field(1.0, ge=0, le=4, description="Factor on holes and on pixels lost beside edges.")
    shadow: bool = Field(True, description="Whether nearer fingers keep the projector's light from what is behind.")


@functools.lru_cache(maxsize=4)
def people(device: torch.device) -> Tensor:
    """The table of everyone: ``(320, 16)`` in [0, 1), the same in every process and on every device."""
    last = max(stop for _, stop in IDENTITIES.values())
    return torch.rand(last, SHAPE_COLUMNS, generator=torch.Generator().manual_seed(TABLE_SEED)).to(device)


def camera(options: CameraOptions, n: int, generator: torch.Generator, role: RealRole, side: int) -> Batch:
    """Draw ``n`` frames of one role's people: depth ``(n, 1, side, side)``; labels exact, and none for role "real"."""
    device = generator.device
    person = torch.randint(*IDENTITIES[role], (n,), generator=generator, device=device)
    shape = Shape.of(people(device)[person], spread=1.3)
    scene = Scene.of(shape, torch.rand(n, SCENE_COLUMNS, generator=generator, device=device), RANGES, side)
    depth, _ = scene.depth()
    image = scene.crop.to_unit(measured(depth, scene, options, generator))[:, None]
    return Batch(image, {} if role == "real" else scene.labels())


def measured(depth: Tensor, scene: Scene, options: CameraOptions, generator: torch.Generator) -> Tensor:
    """True depth ``(n, S, S)`` mm through a sensor of its own for every image; inf where nothing is measured."""
    dice = torch.rand((SENSOR_COLUMNS, len(depth), 1, 1), generator=generator, device=depth.device)
    pitch = scene.crop.pitch.mean(-1)[:, None, None]
    baseline = 60 + 25 * dice[0]
    wall = scene.crop.centre[:, 2, None, None] + 250 + 600 * dice[1]
    if options.shadow:
        dark = sensor.shadowed(torch.where(torch.isfinite(depth), depth, wall), baseline, pitch)
        depth = torch.where(dark, sensor.INF, depth)
    depth = sensor.smooth(depth, 0.8 * dice[2])
    depth = sensor.ragged(depth, options.edges * (1.5 + 1.5 * dice[3]), pitch, window_of(depth.shape[-1]), generator)
    depth = sensor.mixed(depth, options.edges * (0.05 + 0.2 * dice[4]), generator)
    depth = sensor.dropouts(depth, options.missing * 0.05 * dice[5], options.missing * 0.16 * dice[6], generator)
    noise = options.noise * (0.08 + 0.22 * dice[7])
    return sensor.grain(depth, noise, options.noise * torch.full_like(noise, 0.125) + 1e-6, baseline, generator)


def window_of(side: int) -> int:
    """Px of a crop of ``side`` px that the sensor's correlation window spans at the middle distance."""
    pitch = CUBE_MM * FX / (sum(RANGES.distance) / 2) / side
    return max(1, round(WINDOW_PX / pitch))
