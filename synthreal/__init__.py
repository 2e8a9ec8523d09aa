"""synthreal: make simulated images look real, and keep every label true.

This is the face: every public name, re-exported lazily (PEP 562) so that importing the package loads no heavy
library. Nothing is discovered or registered here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthreal.adapters.onnx import export_onnx as export_onnx
    from synthreal.bulk.prepare import prepare as prepare
    from synthreal.bulk.refine import refine_bulk as refine_bulk
    from synthreal.config import (
        AdamConfig as AdamConfig,
    )
    from synthreal.config import (
        AugmentConfig as AugmentConfig,
    )
    from synthreal.config import (
        ComponentConfig as ComponentConfig,
    )
    from synthreal.config import (
        DataConfig as DataConfig,
    )
    from synthreal.config import (
        EvaluationConfig as EvaluationConfig,
    )
    from synthreal.config import (
        FDAConfig as FDAConfig,
    )
    from synthreal.config import (
        FeatureConfig as FeatureConfig,
    )
    from synthreal.config import (
        HistogramConfig as HistogramConfig,
    )
    from synthreal.config import (
        HistoryConfig as HistoryConfig,
    )
    from synthreal.config import (
        LossConfig as LossConfig,
    )
    from synthreal.config import (
        OptimizerConfig as OptimizerConfig,
    )
    from synthreal.config import (
        PixelDistributionConfig as PixelDistributionConfig,
    )
    from synthreal.config import (
        QualityConfig as QualityConfig,
    )
    from synthreal.config import (
        RunConfig as RunConfig,
    )
    from synthreal.config import (
        RuntimeConfig as RuntimeConfig,
    )
    from synthreal.config import (
        ScheduleConfig as ScheduleConfig,
    )
    from synthreal.config import (
        SGDConfig as SGDConfig,
    )
    from synthreal.config import (
        SourceConfig as SourceConfig,
    )
    from synthreal.core.game import update_discriminator as update_discriminator
    from synthreal.core.game import update_refiner as update_refiner
    from synthreal.data.pack import Pack as Pack
    from synthreal.data.writer import write_pack as write_pack
    from synthreal.device import settle as settle
    from synthreal.errors import UserError as UserError
    from synthreal.evaluation.ablate import ablate as ablate
    from synthreal.evaluation.evaluate import evaluate as evaluate
    from synthreal.hooks.catalog import Catalog as Catalog
    from synthreal.hooks.discovery import plugin_manager as plugin_manager
    from synthreal.hooks.hookspecs import hookimpl as hookimpl
    from synthreal.hooks.resolve import configure as configure
    from synthreal.inference.transform import Refine as Refine
    from synthreal.metrics.features import random_features as random_features
    from synthreal.metrics.kid import kid as kid
    from synthreal.metrics.label_drift import annotation_drift as annotation_drift
    from synthreal.metrics.realism import realism as realism
    from synthreal.metrics.spectrum import spectrum_distance as spectrum_distance
    from synthreal.metrics.twosample import two_sample_test as two_sample_test
    from synthreal.metrics.wasserstein import sliced_wasserstein as sliced_wasserstein
    from synthreal.report.document import report as report
    from synthreal.spec import (
        Batch as Batch,
    )
    from synthreal.spec import (
        DatasetSpec as DatasetSpec,
    )
    from synthreal.spec import (
        EvaluatorSpec as EvaluatorSpec,
    )
    from synthreal.spec import (
        FeatureSpec as FeatureSpec,
    )
    from synthreal.spec import (
        ImageSpec as ImageSpec,
    )
    from synthreal.spec import (
        LabelSpec as LabelSpec,
    )
    from synthreal.spec import (
        NetworkSpec as NetworkSpec,
    )
    from synthreal.spec import (
        Options as Options,
    )
    from synthreal.spec import (
        Sample as Sample,
    )
    from synthreal.spec import (
        Skipped as Skipped,
    )
    from synthreal.train.build import build_game as build_game
    from synthreal.train.contact_sheet import save_sheet as save_sheet
    from synthreal.train.fit import fit as fit
    from synthreal.train.fit import steps as steps
    from synthreal.train.log import Report as Report
    from synthreal.train.sources import open_stream as open_stream

_HOME = {
    "AdamConfig": "synthreal.config",
    "AugmentConfig": "synthreal.config",
    "Batch": "synthreal.spec",
    "Catalog": "synthreal.hooks.catalog",
    "ComponentConfig": "synthreal.config",
    "DataConfig": "synthreal.config",
    "DatasetSpec": "synthreal.spec",
    "EvaluationConfig": "synthreal.config",
    "EvaluatorSpec": "synthreal.spec",
    "FDAConfig": "synthreal.config",
    "FeatureConfig": "synthreal.config",
    "FeatureSpec": "synthreal.spec",
    "HistogramConfig": "synthreal.config",
    "HistoryConfig": "synthreal.config",
    "ImageSpec": "synthreal.spec",
    "LabelSpec": "synthreal.spec",
    "LossConfig": "synthreal.config",
    "NetworkSpec": "synthreal.spec",
    "OptimizerConfig": "synthreal.config",
    "Options": "synthreal.spec",
    "Pack": "synthreal.data.pack",
    "PixelDistributionConfig": "synthreal.config",
    "QualityConfig": "synthreal.config",
    "Refine": "synthreal.inference.transform",
    "Report": "synthreal.train.log",
    "RunConfig": "synthreal.config",
    "RuntimeConfig": "synthreal.config",
    "SGDConfig": "synthreal.config",
    "Sample": "synthreal.spec",
    "ScheduleConfig": "synthreal.config",
    "Skipped": "synthreal.spec",
    "SourceConfig": "synthreal.config",
    "UserError": "synthreal.errors",
    "ablate": "synthreal.evaluation.ablate",
    "annotation_drift": "synthreal.metrics.label_drift",
    "build_game": "synthreal.train.build",
    "configure": "synthreal.hooks.resolve",
    "evaluate": "synthreal.evaluation.evaluate",
    "export_onnx": "synthreal.adapters.onnx",
    "fit": "synthreal.train.fit",
    "hookimpl": "synthreal.hooks.hookspecs",
    "kid": "synthreal.metrics.kid",
    "open_stream": "synthreal.train.sources",
    "plugin_manager": "synthreal.hooks.discovery",
    "prepare": "synthreal.bulk.prepare",
    "random_features": "synthreal.metrics.features",
    "realism": "synthreal.metrics.realism",
    "refine_bulk": "synthreal.bulk.refine",
    "report": "synthreal.report.document",
    "save_sheet": "synthreal.train.contact_sheet",
    "settle": "synthreal.device",
    "sliced_wasserstein": "synthreal.metrics.wasserstein",
    "spectrum_distance": "synthreal.metrics.spectrum",
    "steps": "synthreal.train.fit",
    "two_sample_test": "synthreal.metrics.twosample",
    "update_discriminator": "synthreal.core.game",
    "update_refiner": "synthreal.core.game",
    "write_pack": "synthreal.data.writer",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'synthreal' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
