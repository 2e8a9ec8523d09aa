"""Make torchvision importable even if its compiled operators do not match the installed torch, such as a CPU build.

``import torchvision`` fails in this case because it refers to operators that are not registered. Registering their
names is enough for everything written in Python, including ``transforms.v2`` and ``tv_tensors``.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest
import torch

OPERATORS = ("nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
BACKWARD = ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")
_registered: list[Any] = []  # torch drops the registration when the object is deleted


def torchvision_or_skip() -> None:
    """Make ``import torchvision`` work, or skip the test, or the module of tests, where it is not installed."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed", allow_module_level=True)
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        fragment = torch.library.Library("torchvision", "FRAGMENT")
        for operator in (*OPERATORS, *(f"_{name}_backward" for name in BACKWARD)):
            fragment.define(f"{operator}(Tensor x) -> Tensor")
        _registered.append(fragment)
        import torchvision  # noqa: F401
