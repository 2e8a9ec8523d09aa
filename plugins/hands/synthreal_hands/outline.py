"""The hand domain's own detector: how far the silhouette reaches, by geometry alone.

Supporting lines in pairs of directions right and left of up touch the outermost fingers; each pair meets in a corner.
A corner moves exactly as the hand does, it needs no decision which finger is which, and where it should be follows
exactly from the simulator's bones. The mask is smoothed first, so that single stray or missing pixels do not count.
Shifts are px of the image. It sees the silhouette only: not fingers before the palm, not depth; and a refiner that
keeps its background cannot push corners out, only lose fingertips.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from synthreal_hands.scene import corners_of, directions

SOLID = 0.4
EDGE_PX = 0.35
"""From the centre of the outermost pixel to the edge, on average over directions; measured on the simulator."""


def locate_corners(image: Tensor) -> Tensor:
    """Corners of supporting lines round the hand.

    Args:
        image: crops ``(B, 1, S, S)`` in [0, 1], 1 meaning nothing.

    Returns:
        ``(B, K, 2)`` px (x, y), as the label ``outline``; the crop's centre where there is nothing at all.
    """
    side = image.shape[-1]
    window = 2 * max(1, side // 64) + 1
    hand = (image[:, 0] < 0.999).float()
    solid = (avg_pool2d(hand[:, None], window, stride=1, padding=window // 2)[:, 0] >= SOLID) & (hand > 0)
    angles = directions(image)
    place = torch.arange(side, device=image.device, dtype=torch.float32)
    along = place * angles.cos()[:, None, None] - place[:, None] * angles.sin()[:, None, None]
    reach = torch.stack([torch.where(solid, way, -torch.inf).flatten(1).amax(1) + EDGE_PX for way in along], dim=1)
    found = corners_of(reach)
    return torch.where(solid.flatten(1).any(1)[:, None, None], found, (side - 1) / 2)
