"""The configuration of a run: one tree of frozen pydantic models.

Precedence: recipe < ``--config file.toml`` < ``--set dotted.key=value``. Off is None; TOML has no null, so None is
written and read as the string ``"none"``. Errors name the dotted path and, for an unknown key, the closest known one.
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
from synthreal.config.run import DataConfig, ResolvedConfig, RunConfig, RuntimeConfig
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
    "ResolvedConfig",
    "RunConfig",
    "RuntimeConfig",
    "SGDConfig",
    "ScheduleConfig",
    "SourceConfig",
]
