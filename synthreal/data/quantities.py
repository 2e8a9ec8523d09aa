"""The numbers of a label by component: the quantities that an answer gets right or wrong, each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from synthreal.spec import LabelSpec

MOST = 6  # components of the last axis that have a name each


def split_components(label: LabelSpec, values: Tensor) -> dict[str, Tensor]:
    """Label values ``(B, *shape)`` by component of the last axis, name -> ``(B, *shape[:-1])``.

    Names hold the unit, up to its first comma: ``centre[0] (px)``. A label without axes, or of more than 6 components,
    is one quantity ``(B, *shape)``.
    """
    unit = label.unit.partition(",")[0]
    suffix = f" ({unit})" if unit else ""
    if values.ndim > 1 and values.shape[-1] <= MOST:
        return {f"{label.name}[{i}]{suffix}": values[..., i] for i in range(values.shape[-1])}
    return {f"{label.name}{suffix}": values}


def join_components(quantities: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """The inverse of :func:`split_components`: values ``(B, *shape)``, whose ``shape`` here includes B."""
    columns = list(quantities.values())
    return (columns[0] if len(columns) == 1 else torch.stack(columns, dim=-1)).reshape(tuple(shape))
