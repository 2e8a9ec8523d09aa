"""Do labels survive refinement? Measured with the domain's own detector, and the detector with known truths.

Source: SimGAN 3.1, where ellipse-fitted pupil centres of 100 simulated and refined images differ by 1.1 +/- 0.8 px.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.spec import EvaluatorSpec

COUNT = 1000
CONTROL = 2


@torch.no_grad()
def landmark_preservation(spec: EvaluatorSpec, pairs: list[tuple[Resident, Resident]]) -> dict[str, Any]:
    """How far refining moves what the detector finds, in px of the image.

    Args:
        spec: an evaluator with ``locate``.
        pairs: simulated and refined images of each run, row by row the same; the first 1000 of each count.

    Returns:
        ``shift_px`` (mean and std over images of the distance between the detections on x and R(x)),
        ``detector_error_px`` (distance to the exact landmarks on x, None without such labels), ``control_px``
        (distance it reads for images shifted by exactly 2 px), ``change`` (mean |R(x) - x|) and ``n``.
    """
    if spec.locate is None:
        return {}
    shift, error, control, change = [], [], [], []
    for simulated, refined in pairs:
        x, y = to_unit(simulated.image[:COUNT]), to_unit(refined.image[:COUNT])
        found = detect(spec.locate, x)
        shift.append(distance(found, detect(spec.locate, y)))
        control.append(distance(found, detect(spec.locate, _shifted(x))))
        change.append((y - x).abs().mean())
        if spec.landmarks is not None and spec.landmarks in simulated.labels:
            error.append(distance(found, simulated.labels[spec.landmarks][:COUNT]))
    moved_px = torch.cat(shift)
    return {
        "shift_px": {"mean": float(moved_px.mean()), "std": float(moved_px.std())},
        "detector_error_px": float(torch.cat(error).mean()) if error else None,
        "control_px": float(torch.cat(control).mean()),
        "change": float(torch.stack(change).mean()),
        "n": len(moved_px),
    }


@torch.no_grad()
def landmark_shift(locate: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """How far what the detector finds on ``y`` lies from what it finds on ``x``, each ``(N, C, H, W)``: ``(N,)`` px."""
    return distance(detect(locate, x), detect(locate, y))


def detect(locate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a detector finds on images ``(N, C, H, W)``, part by part: ``(N, K, 2)`` px."""
    return torch.cat([locate(part) for part in images.split(256)])


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the K points of their distance: ``(N, K, 2) -> (N,)``."""
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return distance.mean(dim=-1)


def _shifted(images: Tensor) -> Tensor:
    """The images moved right by exactly 2 px, the border repeated."""
    return pad(images, (CONTROL, 0, 0, 0), mode="replicate")[..., : images.shape[-1]]
