"""Receptive fields of stacks of convolutions and pools, computed from their kernels and strides."""

from __future__ import annotations

from collections.abc import Iterable


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """Side in pixels of what one output position sees, for layers given as ``(kernel, stride)`` from input to output.

    A layer widens the field by (kernel - 1) times the product of the strides before it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
