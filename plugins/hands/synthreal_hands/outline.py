"""The detector of the hand domain: the extent of the silhouette, by geometry alone.

Supporting lines in pairs of directions, one right and one left of up, touch the outermost fingers; each pair intersects
in a corner. A corner moves exactly as the hand does, requires no identification of fingers, and its true position
follows from the simulator's bones. The mask is smoothed first, so that single stray or missing pixels have no effect.
The detector sees only the silhouette: neither fingers in front of the palm nor depth. A refiner that keeps its
background cannot move corners outwards; it can only lose fingertips.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from synthreal_hands.scene import directions, intersect_lines

SOLID = 0.4
EDGE_PX = 0.35
"""Mean distance from the centre of the outermost pixel to the edge, measured on the simulator."""


def locate_corners(image: Tensor) -> Tensor:
    """Find the corners of supporting lines of the hand.

    Args:
        image: crops ``(B, 1, S, S)`` in [0, 1]; 1 is background.

    Returns:
        ``(B, K, 2)`` px (x, y), like the label ``outline``; the centre of the crop if the image is empty.
    """
    side = image.shape[-1]
    window = 2 * max(1, side // 64) + 1
    hand = (image[:, 0] < 0.999).float()
    solid = (avg_pool2d(hand[:, None], window, stride=1, padding=window // 2)[:, 0] >= SOLID) & (hand > 0)
    angles = directions(image)
    place = torch.arange(side, device=image.device, dtype=torch.float32)
    along = place * angles.cos()[:, None, None] - place[:, None] * angles.sin()[:, None, None]
    reach = torch.stack([torch.where(solid, way, -torch.inf).flatten(1).amax(1) + EDGE_PX for way in along], dim=1)
    corners = intersect_lines(reach)
    return torch.where(solid.flatten(1).any(1)[:, None, None], corners, (side - 1) / 2)
