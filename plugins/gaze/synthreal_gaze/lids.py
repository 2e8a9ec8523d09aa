"""The eyelids: two curves between the eye corners that follow the pitch of the gaze and rotate with the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from synthreal_gaze.anatomy import Anatomy, Pose, Projection

BALL_RADIUS = 12.0  # mm
LID_BULGE = 6.5  # mm, distance of the middle of the lid margins in front of the plane of the corners
MARGIN = 16  # points of the lid outline; point 0 is the inner corner, point 8 the outer one


@dataclass(frozen=True)
class Lids:
    """The two lid margins as curves over the line from the inner to the outer corner: fields ``(n, 1, 1)``, px."""

    inner_x: Tensor
    inner_y: Tensor
    outer_x: Tensor
    outer_y: Tensor
    upper: Tensor
    lower: Tensor
    upper_warp: Tensor
    lower_warp: Tensor
    fullness: Tensor

    @classmethod
    def of(cls, a: Anatomy, p: Pose, projection: Projection) -> Lids:
        """Project corners and margins with the head pose; the upper lid follows the pitch of the gaze."""
        turn = (p.pitch - p.head_pitch).sin() * BALL_RADIUS
        upper = (a.upper * p.openness + a.follow * turn).clamp_min(0.6)
        lower = (a.lower * (0.5 + 0.5 * p.openness) - 0.3 * turn).clamp_min(0.8)
        inner = projection(-a.half_width, a.tilt, 0.0)
        outer = projection(a.half_width, -a.tilt, 2.0)
        top = projection(a.upper_peak, -upper, -LID_BULGE)
        bottom = projection(a.lower_peak, lower, -LID_BULGE)

        def height(point: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            u = ((point[0] - inner[0]) / (outer[0] - inner[0])).clamp(0.38, 0.62)
            return point[1] - torch.lerp(inner[1], outer[1], u), (0.5 - u) / (u * (1 - u))

        high, high_warp = height(top)
        low, low_warp = height(bottom)
        high = torch.minimum(high, low - 1.5)
        return cls(*inner, *outer, high, low, high_warp, low_warp, a.fullness)

    def rows(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the upper and lower margin at ``u (n, 1, K)``; outside [0, 1] the margins cross."""
        line = torch.lerp(self.inner_y, self.outer_y, u)
        bounded = u.clamp(-0.4, 1.4)

        def bump(warp: Tensor, fullness: Tensor | float) -> Tensor:
            w = bounded + warp * bounded * (1 - bounded)
            return 4 * w * (1 - w) * (1 + fullness * (2 * w - 1) ** 2)

        return line + self.upper * bump(self.upper_warp, self.fullness), line + self.lower * bump(self.lower_warp, 0.1)

    def outline(self) -> Tensor:
        """Label ``lids (n, 16, 2)`` px: inner corner, upper lid, outer corner, and back along the lower lid."""
        half = MARGIN // 2
        u = torch.linspace(0, 1, half + 1, device=self.upper.device).expand(len(self.upper), 1, half + 1)
        x = torch.lerp(self.inner_x, self.outer_x, u)
        upper, lower = self.rows(u)
        over = torch.stack((x, upper), -1)[:, 0]
        under = torch.stack((x, lower), -1)[:, 0]
        return torch.cat((over, under[:, 1:-1].flip(1)), 1)
