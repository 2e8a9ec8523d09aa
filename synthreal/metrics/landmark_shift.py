"""Do labels survive refinement? Measured with the detector of the domain, which is itself checked against known shifts.

Source: SimGAN 3.1, where ellipse-fitted pupil centres of 100 simulated and refined images differ by 1.1 +/- 0.8 px.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.results.schema import CONTROL_PX, Preservation, Shift
from synthreal.spec import EvaluatorSpec

COUNT = 1000


@torch.no_grad()
def landmark_preservation(spec: EvaluatorSpec, pairs: list[tuple[Resident, Resident]]) -> Preservation | None:
    """How far refinement moves the detected landmarks, in px of the image; None for an evaluator without ``locate``.

    ``pairs`` are the simulated and refined images of each run, row by row; the first 1000 of each are used.
    """
    if spec.locate is None:
        return None
    shift, error, control, change = [], [], [], []
    for simulated, refined in pairs:
        x, y = to_unit(simulated.image[:COUNT]), to_unit(refined.image[:COUNT])
        moved_right = pad(x, (CONTROL_PX, 0, 0, 0), mode="replicate")[..., : x.shape[-1]]
        on_x = detect(spec.locate, x)
        shift.append(distance(on_x, detect(spec.locate, y)))
        control.append(distance(on_x, detect(spec.locate, moved_right)))
        change.append((y - x).abs().mean())
        if spec.landmarks is not None and spec.landmarks in simulated.labels:
            error.append(distance(on_x, simulated.labels[spec.landmarks][:COUNT]))
    shifts = torch.cat(shift)
    return Preservation(
        shift_px=Shift(mean=float(shifts.mean()), std=float(shifts.std())),
        detector_error_px=float(torch.cat(error).mean()) if error else None,
        control_px=float(torch.cat(control).mean()),
        change=float(torch.stack(change).mean()),
        n=len(shifts),
    )


@torch.no_grad()
def landmark_shift(locate: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Distance ``(N,)`` px between the landmarks detected on ``x`` and on ``y``, each ``(N, C, H, W)`` in [0, 1]."""
    return distance(detect(locate, x), detect(locate, y))


def detect(locate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Landmarks ``(N, K, 2)`` px detected on images ``(N, C, H, W)``, 256 images at a time."""
    return torch.cat([locate(part) for part in images.split(256)])


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean Euclidean distance over K points: ``(N, K, 2) -> (N,)``."""
    distances: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return distances.mean(dim=-1)
