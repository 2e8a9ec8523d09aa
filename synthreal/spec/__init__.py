"""The types that a plugin returns, and the samples and batches that flow between them; all are frozen.

Images are float32 ``(B, C, H, W)`` in [0, 1] on the run's device; networks map to [-1, 1] internally. Stored images are
uint8, uint16 (divided by their maximum when read) or float16. Readers rescale physical units to [0, 1].
"""

from __future__ import annotations

from synthreal.spec.component import PARTS, EvaluatorSpec, FeatureSpec, NetworkSpec, Part
from synthreal.spec.dataset import (
    ANY,
    LARGEST_SIDE,
    ROLES,
    STORED_DTYPES,
    Batch,
    Colormap,
    DatasetSpec,
    ImageSpec,
    LabelSpec,
    Role,
    Sample,
    Skipped,
    StoredDtype,
)
from synthreal.spec.options import STRICT, OddSide, Options, PrintableName, UserPath

__all__ = [
    "ANY",
    "LARGEST_SIDE",
    "PARTS",
    "ROLES",
    "STORED_DTYPES",
    "STRICT",
    "Batch",
    "Colormap",
    "DatasetSpec",
    "EvaluatorSpec",
    "FeatureSpec",
    "ImageSpec",
    "LabelSpec",
    "NetworkSpec",
    "OddSide",
    "Options",
    "Part",
    "PrintableName",
    "Role",
    "Sample",
    "Skipped",
    "StoredDtype",
    "UserPath",
]
