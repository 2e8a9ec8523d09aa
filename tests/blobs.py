"""Images of blobs and a geometric detector of their centres, for tests of label preservation."""

from __future__ import annotations

import torch
from torch import nn
from toy import locate, synthreal_evaluators

from synthreal.data.encoding import from_unit
from synthreal.data.resident import Resident

SPEC = synthreal_evaluators()[0]


class Pointing(nn.Module):
    """Finds blobs by plain geometry, with an error of its own: as good as a well trained estimator."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = bias

    def forward(self, image):
        return locate(image) + self.bias


def blobs(n, dx=0.0, dy=0.0):
    """Smooth blobs in the middle third, moved by (dx, dy) px; the labels say where they were."""
    centre = torch.tensor([7.5, 5.5]) + torch.rand(n, 1, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    squared = (torch.stack([x, y], -1) - (centre + torch.tensor([dx, dy]))[..., None, :]).square().sum(-1)[:, None]
    return Resident(from_unit(0.2 + 0.6 * torch.exp(-squared / 4), "uint8"), {"centre": centre})
