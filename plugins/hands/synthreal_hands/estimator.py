"""The downstream task: the positions of 14 joints, in the crop and in millimetres.

**Errors are in px of a 224 px crop at every image size**: an error in a 64 px image is multiplied by 3.5. Therefore
``pck_5px`` (percentage of joints within 5 px) and the curve from 1 to 20 px are comparable between sizes (5 px of 224
are 1.4 px of 64).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, smooth_l1_loss

from synthreal import Batch, EvaluatorSpec
from synthreal_hands.cube import CROP, JOINT_COUNT, JOINTS, XYZ, Crop, unproject
from synthreal_hands.hourglass import Grid, HandNet, HourglassOptions, peak
from synthreal_hands.outline import locate_corners
from synthreal_hands.scene import OUTLINE

GRID_PX = 224
SIGMA_CELLS = 1.0
DEPTH_WEIGHT = 5.0
ROTATION_DEG = 20.0
SHIFT = 0.08
SCALE = (0.9, 1.1)
QUANTITIES = ("x_px", "y_px", "behind_mm")


def loss(pred: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of the heat maps plus the depth error, summed over stacks, ``()``.

    A heat map is a distribution over cells; its target is a Gaussian with a deviation of 1 cell around the joint (the
    paper names neither loss nor sigma; Newell et al. use the squared error). A joint outside the map is clamped to its
    border. Depth is the mean under the target, in units of half the cube, with a smooth L1 loss.

    Args:
        pred: maps ``(B, S, 28, h, h)``.
        labels: ``joints`` and ``crop``.
    """
    crop = Crop.of(labels[CROP.name])
    maps = pred.shape[-1]
    grid = Grid.over(crop.side[:, None, None], maps)
    joints = labels[JOINTS.name]
    place = grid.to_cells(joints[..., :2]).clamp(0, maps - 1)
    cells = torch.arange(maps, device=pred.device)
    x, y = (torch.exp(-0.5 * ((cells - place[..., i, None]) / SIGMA_CELLS).square()) for i in (0, 1))
    target = (y[..., :, None] * x[..., None, :]).flatten(2)
    target = (target / target.sum(-1, keepdim=True))[:, None]
    heat, depth = pred.float().flatten(3).split(JOINT_COUNT, dim=2)
    entropy = -(target * log_softmax(heat, dim=-1)).sum(-1)
    predicted = (target * depth).sum(-1)
    behind = (joints[..., 2] / crop.half[:, None])[:, None].expand_as(predicted)
    return entropy.mean(dim=(0, 2)).sum() + DEPTH_WEIGHT * smooth_l1_loss(predicted, behind, beta=0.1) * pred.shape[1]


def decode_joints(pred: Tensor, crop: Crop) -> Tensor:
    """Joints ``(B, 14, 3)`` px, px, mm of the crop from maps ``(B, S, 28, h, h)``; joints are returned unchanged."""
    if pred.ndim == 3:
        return pred
    heat, depth = pred[:, -1].float().split(JOINT_COUNT, dim=1)
    place, weights = peak(heat)
    uv = Grid.over(crop.side[:, None, None], pred.shape[-1]).to_px(place)
    behind = (weights * depth).sum(dim=(2, 3)) * crop.half[:, None]
    return torch.cat([uv, behind[..., None]], dim=-1)


def metrics(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The error of each joint.

    Args:
        pred: maps ``(B, S, 28, h, h)``, or joints ``(1 or B, 14, 3)`` px, px, mm of the crop (the constant prediction).
        labels: ``joints``, ``xyz`` and ``crop``.

    Returns:
        ``error_px`` (px of a 224 px crop), ``error_mm`` (distance in space after back-projection) and ``pck_5px``
        (0 or 100), each ``(B, 14)``.
    """
    crop = Crop.of(labels[CROP.name])
    predicted = decode_joints(pred, crop)
    factor = GRID_PX / crop.side[:, None]
    error = torch.linalg.vector_norm(predicted[..., :2] - labels[JOINTS.name][..., :2], dim=-1) * factor
    space = torch.linalg.vector_norm(unproject(crop.to_frame(predicted)) - labels[XYZ.name], dim=-1)
    return {"error_px": error, "error_mm": space, "pck_5px": 100.0 * (error <= 5.0).to(error.dtype)}


def answer(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Predicted maps ``(B, S, 28, h, h)`` as labels: ``joints`` and ``xyz``, each ``(B, 14, 3)``."""
    crop = Crop.of(labels[CROP.name])
    joints = decode_joints(pred, crop)
    return {JOINTS.name: joints, XYZ.name: unproject(crop.to_frame(joints))}


def quantities(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``x_px``, ``y_px`` (of the image) and ``behind_mm`` of the joints, each ``(B, 14)``."""
    return dict(zip(QUANTITIES, labels[JOINTS.name].unbind(-1), strict=True))


def assign(pred: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Joints ``(B, 14, 3)`` px, px, mm, as :func:`metrics` takes them."""
    return torch.stack([values[name] for name in QUANTITIES], dim=-1)


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """Rotate within +/-20 degrees, shift by up to 8 % and scale by 0.9 to 1.1; transforms the joints, too.

    Depth is sampled (nearest neighbour), never blended; new pixels are background. Only labels that remain valid are
    returned: ``joints``, and ``crop`` for the position of the original image in the frame.
    """
    from kornia.geometry.linalg import transform_points
    from kornia.geometry.transform import get_affine_matrix2d, warp_affine

    image = batch.image
    n, side = len(image), image.shape[-1]
    unit = torch.rand((n, 4), generator=generator, device=image.device)
    signed = 2 * unit - 1
    low, high = SCALE
    scale = (low + (high - low) * unit[:, 3])[:, None].expand(n, 2)
    centre = torch.full((n, 2), (side - 1) / 2, device=image.device)
    matrix = get_affine_matrix2d(SHIFT * side * signed[:, :2], centre, scale, ROTATION_DEG * signed[:, 2])
    nearer = warp_affine(1 - image, matrix[:, :2], (side, side), mode="nearest", padding_mode="zeros")
    joints = batch.labels[JOINTS.name]
    moved = torch.cat([transform_points(matrix, joints[..., :2]), joints[..., 2:]], dim=-1)
    return Batch(1 - nearer, {JOINTS.name: moved, CROP.name: batch.labels[CROP.name]})


EVALUATOR = EvaluatorSpec(
    name="hands",
    requires=(JOINTS, XYZ, CROP),
    options=HourglassOptions,
    build=HandNet,
    loss=loss,
    metrics=metrics,
    primary="error_px",
    curve=("error_px", tuple(float(px) for px in range(1, 21))),
    augment=augment,
    locate=locate_corners,
    landmarks=OUTLINE.name,
    answer=answer,
    quantities=quantities,
    assign=assign,
)
