"""Complete run configurations of the hand domain."""

from __future__ import annotations

from typing import Any

from synthreal import (
    AdamConfig,
    ComponentConfig,
    DataConfig,
    EvaluationConfig,
    FeatureConfig,
    HistoryConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    SGDConfig,
    SourceConfig,
)

PATCHES = 7 * 7


def _conv(maps: int, kernel: int, stride: int = 1) -> dict[str, Any]:
    return {"kind": "conv", "maps": maps, "kernel": kernel, "stride": stride}


SMALL_DISCRIMINATOR = {"layers": [_conv(48, 3, 2), _conv(48, 3, 2), _conv(32, 3), _conv(32, 1)]}
HAND_DISCRIMINATOR = {
    "layers": [
        _conv(96, 7, 4),
        _conv(64, 5, 2),
        {"kind": "pool", "kernel": 3, "stride": 2},
        _conv(32, 3, 2),
        _conv(32, 1),
    ]
}
HAND_REFINER = {"kernel": 7, "blocks": 10}


def _source(name: str, count: int | None = None, **options: Any) -> SourceConfig:
    return SourceConfig(name=name, count=count, options=options)


HANDS = RunConfig(
    data=DataConfig(
        simulated=_source("simulator", 6000),
        real=_source("camera", 4000),
        real_labelled=_source("camera", 6000),
        validation=_source("camera", 1000),
        test=_source("camera", 2000),
    ),
    refiner=ComponentConfig(name="resnet", options={"width": 16, "padding": "replicate", "keep_background": True}),
    discriminator=ComponentConfig(name="local", options=SMALL_DISCRIMINATOR),
    features=(FeatureConfig(name="identity"),),
    loss=LossConfig(weight=4.0),
    history=HistoryConfig(size=3200),
    schedule=ScheduleConfig(
        refiner_steps=50,
        discriminator_steps=20,
        steps=800,
        batch=32,
        patch=32,
        report_every=50,
        save_every=200,
        sheet_every=200,
    ),
    optimizer=OptimizerConfig(
        refiner=AdamConfig(learning_rate=3e-4), discriminator=AdamConfig(learning_rate=2e-4), ema=0.99
    ),
    evaluation=EvaluationConfig(
        evaluator=ComponentConfig(name="hands", options={"features": 24, "stacks": 1, "maps": 32}),
        images=6000,
        epochs=8,
        batch=32,
        learning_rate=3e-3,
    ),
)

HANDS_NYU = RunConfig(
    data=DataConfig(
        simulated=_source("nyu", root="data/NYU"),
        real=_source("nyu", root="data/NYU"),
        real_labelled=_source("nyu", root="data/NYU"),
        validation=_source("nyu", root="data/NYU"),
        test=_source("nyu", root="data/NYU"),
    ),
    refiner=ComponentConfig(name="resnet", options=HAND_REFINER),
    discriminator=ComponentConfig(name="local", options=HAND_DISCRIMINATOR),
    loss=LossConfig(weight=1.0),
    history=HistoryConfig(size=1600),
    schedule=ScheduleConfig(
        refiner_steps=500,
        discriminator_steps=200,
        steps=600_000,
        refiner_updates=2,
        discriminator_updates=1,
        batch=16,
        report_every=100,
        save_every=5000,
        sheet_every=5000,
    ),
    optimizer=OptimizerConfig(
        refiner=SGDConfig(learning_rate=0.0002 * PATCHES),
        discriminator=SGDConfig(learning_rate=0.0002 * PATCHES),
        ema=0.999,
    ),
    evaluation=EvaluationConfig(
        evaluator=ComponentConfig(name="hands"), images=218_271, epochs=10, batch=32, learning_rate=2.5e-4
    ),
)

RECIPES = {"hands": HANDS, "hands-nyu": HANDS_NYU}
