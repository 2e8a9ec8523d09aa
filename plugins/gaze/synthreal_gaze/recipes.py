"""Complete run configurations of the gaze domain.

``gaze`` is sized for two CPU cores: the paper's structure with fewer maps, a short schedule, a small estimator, on the
drawn simulator and camera. ``gaze-mpiigaze`` is the paper: its networks, batch and schedule, UnityEyes and MPIIGaze.

Where the paper is silent or contradicts itself: lambda is ours (the losses are means here, see synthreal's
``core/losses.py``); K_g is 2 (the sentence also says 50); SGD's 0.001 on the sum of 9x14 patch losses is
0.001 * 126 = 0.126 on their mean; the buffer holds 100 mini-batches.
"""

from __future__ import annotations

from typing import Any

from synthreal import (
    AdamConfig,
    ComponentConfig,
    DataConfig,
    EvaluationConfig,
    HistoryConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    SGDConfig,
    SourceConfig,
)

PATCHES = 9 * 14

SMALL_DISCRIMINATOR = {
    "layers": [
        {"kind": "conv", "maps": 48, "kernel": 3, "stride": 2},
        {"kind": "conv", "maps": 32, "kernel": 3, "stride": 2},
        {"kind": "pool", "kernel": 3, "stride": 1},
        {"kind": "conv", "maps": 32, "kernel": 3, "stride": 1},
        {"kind": "conv", "maps": 32, "kernel": 1, "stride": 1},
    ]
}


def _source(name: str, count: int | None = None, **options: Any) -> SourceConfig:
    return SourceConfig(name=name, count=count, options=options)


GAZE = RunConfig(
    data=DataConfig(
        simulated=_source("simulator", 8000),
        real=_source("camera", 4000),
        real_labelled=_source("camera", 6000),
        validation=_source("camera", 2000),
        test=_source("camera", 3000),
    ),
    refiner=ComponentConfig(name="resnet", options={"width": 24, "padding": "replicate", "noise_channels": 1}),
    discriminator=ComponentConfig(name="local", options=SMALL_DISCRIMINATOR),
    loss=LossConfig(weight=4.0),
    history=HistoryConfig(size=3200),
    schedule=ScheduleConfig(
        refiner_steps=150, discriminator_steps=50, steps=900, batch=32, report_every=25, save_every=300, sheet_every=300
    ),
    optimizer=OptimizerConfig(
        refiner=AdamConfig(learning_rate=5e-4), discriminator=AdamConfig(learning_rate=3e-4), ema=0.99
    ),
    evaluation=EvaluationConfig(
        evaluator=ComponentConfig(name="gaze", options={"widths": [16, 16, 32, 32, 64], "hidden": [256]}),
        images=6000,
        epochs=10,
        batch=64,
        learning_rate=1e-3,
    ),
)

GAZE_MPIIGAZE = RunConfig(
    data=DataConfig(
        simulated=_source("unityeyes", root="data/UnityEyes"),
        real=_source("mpiigaze", root="data/MPIIGaze"),
        real_labelled=_source("mpiigaze", root="data/MPIIGaze"),
        validation=_source("mpiigaze", root="data/MPIIGaze"),
        test=_source("mpiigaze", root="data/MPIIGaze"),
    ),
    loss=LossConfig(weight=1.0),
    history=HistoryConfig(size=51200),
    schedule=ScheduleConfig(
        refiner_steps=1000,
        discriminator_steps=200,
        steps=50_000,
        refiner_updates=2,
        discriminator_updates=1,
        batch=512,
        report_every=100,
        save_every=1000,
        sheet_every=1000,
    ),
    optimizer=OptimizerConfig(
        refiner=SGDConfig(learning_rate=0.001 * PATCHES),
        discriminator=SGDConfig(learning_rate=0.001 * PATCHES),
        ema=0.999,
    ),
    evaluation=EvaluationConfig(
        evaluator=ComponentConfig(name="gaze"), images=1_200_000, epochs=10, batch=512, learning_rate=1e-3
    ),
)

RECIPES = {"gaze": GAZE, "gaze-mpiigaze": GAZE_MPIIGAZE}
