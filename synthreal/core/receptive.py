"""Receptive fields of stacks of convolutions and pools."""

from __future__ import annotations

from collections.abc import Iterable


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """Side in pixels of the input area of one output position, for layers ``(kernel, stride)`` from input to output.

    A layer widens the area by (kernel - 1) times the product of the strides before it.
    """
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
