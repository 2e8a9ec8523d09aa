"""The configuration of a run: one tree of frozen pydantic models, complete before step 0, never written to afterwards.

Precedence: recipe < ``--config file.toml`` < ``--set dotted.key=value``. Off is None; TOML has no null, so None is
written and read as the string ``"none"``. Every error names the dotted path and, for a wrong key, the near miss.
"""

from __future__ import annotations

from synthreal.config.component import ComponentConfig, FeatureConfig, SourceConfig
from synthreal.config.evaluation import (
    AugmentConfig,
    EvaluationConfig,
    FDAConfig,
    HistogramConfig,
    PixelDistributionConfig,
)
from synthreal.config.run import DataConfig, RunConfig, RuntimeConfig
from synthreal.config.training import (
    AdamConfig,
    HistoryConfig,
    LossConfig,
    OptimizerConfig,
    QualityConfig,
    ScheduleConfig,
    SGDConfig,
)

__all__ = [
    "AdamConfig",
    "AugmentConfig",
    "ComponentConfig",
    "DataConfig",
    "EvaluationConfig",
    "FDAConfig",
    "FeatureConfig",
    "HistogramConfig",
    "HistoryConfig",
    "LossConfig",
    "OptimizerConfig",
    "PixelDistributionConfig",
    "QualityConfig",
    "RunConfig",
    "RuntimeConfig",
    "SGDConfig",
    "ScheduleConfig",
    "SourceConfig",
]
