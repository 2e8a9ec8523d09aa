"""synthreal: make simulated images look real, and keep every label true.

The everyday names, loaded when they are first used (PEP 562), so that ``import synthreal`` loads no heavy library.
Settings are in :mod:`synthreal.config`, metrics in :mod:`synthreal.metrics`, other libraries' transforms in
:mod:`synthreal.adapters`, the rules that plugins keep in :mod:`synthreal.testing`; :mod:`synthreal.train`,
:mod:`synthreal.evaluation`, :mod:`synthreal.data`, :mod:`synthreal.core` and :mod:`synthreal.device` export the parts a
training loop of your own is made of.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthreal.bulk.prepare import prepare as prepare
    from synthreal.bulk.refine import refine_bulk as refine_bulk
    from synthreal.errors import UserError as UserError
    from synthreal.evaluation.evaluate import evaluate as evaluate
    from synthreal.hooks.catalog import Catalog as Catalog
    from synthreal.hooks.hookspecs import hookimpl as hookimpl
    from synthreal.hooks.resolve import configure as configure
    from synthreal.inference.transform import Refine as Refine
    from synthreal.spec import (
        Batch as Batch,
        DatasetSpec as DatasetSpec,
        EvaluatorSpec as EvaluatorSpec,
        FeatureSpec as FeatureSpec,
        ImageSpec as ImageSpec,
        LabelSpec as LabelSpec,
        NetworkSpec as NetworkSpec,
        Options as Options,
        Sample as Sample,
        Skipped as Skipped,
    )
    from synthreal.train.fit import fit as fit, steps as steps

_HOME = {
    "Batch": "synthreal.spec",
    "Catalog": "synthreal.hooks.catalog",
    "DatasetSpec": "synthreal.spec",
    "EvaluatorSpec": "synthreal.spec",
    "FeatureSpec": "synthreal.spec",
    "ImageSpec": "synthreal.spec",
    "LabelSpec": "synthreal.spec",
    "NetworkSpec": "synthreal.spec",
    "Options": "synthreal.spec",
    "Refine": "synthreal.inference.transform",
    "Sample": "synthreal.spec",
    "Skipped": "synthreal.spec",
    "UserError": "synthreal.errors",
    "configure": "synthreal.hooks.resolve",
    "evaluate": "synthreal.evaluation.evaluate",
    "fit": "synthreal.train.fit",
    "hookimpl": "synthreal.hooks.hookspecs",
    "prepare": "synthreal.bulk.prepare",
    "refine_bulk": "synthreal.bulk.refine",
    "steps": "synthreal.train.fit",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'synthreal' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
