"""Run configurations of the hand domain.

``hands`` is sized for two CPU cores: 64 px crops, the structure of the paper with fewer channels and a discriminator
with a receptive field of 15 px, on the hand simulator and the depth camera simulator. ``hands-nyu`` is the paper: its
networks and schedule on NYU's renders and frames.

The settings of ``hands`` were chosen on the camera's validation split (px of a 224 px crop; estimators trained on
simulated hands reach 9.3 to 10.0, on labelled real hands 6.1). The errors below are from one fitted seed; differences
of 0.3 are noise:

- One noise map: without it, R can only derive noise from the content of a clean image, and covers slopes with regular
  patterns; with it, R scatters holes.
- Learning rate 1e-3 for R and D. At 2e-4, D barely separated the images (its patches are mostly background), and R
  changed half as much.
- lambda 8: 6.5 px and 14 mm; 16 gave 6.7 px, 4 gave 6.8, 2 gave 7.1; with lambda 1 and a faster D, hands became flat
  and lost fingers.
- ``keep_background``: without it, silhouettes fray outwards like the camera's, which looks better, and the outline
  moves less (0.1 px instead of 0.6), but depth drifts: 6.8 to 7.1 px and 17 to 19 mm.
- Patches of 32 px: a third of the time of whole images (6.8 px).

Alternatives to the refiner, on the same split (one estimator each; simulated 8.2 px):

- fda, beta 0.02, 0.05, 0.1: 9.4, 9.2, 9.9; it smears depth over the background.
- histogram, blend 0.5, 1: 7.7, 7.1.
- pixel-distribution, blend 0.5, 1: 8.7, 9.2.
- augment (px of blur, noise, brightness, contrast): (1, 0.02, 0, 0) 8.2, (1, 0.05, 0.02, 0.05) 7.6, (2, 0.1, 0, 0) 7.4,
  (2, 0.1, 0.02, 0.05) 7.5, (3, 0.15, 0, 0) 7.6.

The history stores float32: with 8 bits, D could recognise past images by their steps of 1.3 mm. The estimator of
``hands-nyu`` trains on as many images as one camera took (the paper's "1x"), 7.3 GB per arm.

Choices where the paper is silent: lambda (losses are means here), batch size, history (100 mini-batches), averaged
weights, and Adam for the estimator. SGD's 0.0002 on the sum of 7x7 patch losses is 0.0002 * 49 = 0.0098 on their mean.
The paper reduces it to a quarter after 600,000 steps, where ``hands-nyu`` ends.
"""

from __future__ import annotations

from typing import Any

from synthreal.config import (
    AdamConfig,
    AugmentConfig,
    ComponentConfig,
    DataConfig,
    EvaluationConfig,
    FDAConfig,
    HistogramConfig,
    HistoryConfig,
    LossConfig,
    OptimizerConfig,
    PixelDistributionConfig,
    RunConfig,
    ScheduleConfig,
    SGDConfig,
    SourceConfig,
)
from synthreal_hands.nyu import FOLDERS

PATCHES = 7 * 7  # logits of D


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
BASELINES: dict[str, Any] = {
    "fda": FDAConfig(beta=0.05),
    "histogram": HistogramConfig(blend=1.0),
    "pixel_distribution": PixelDistributionConfig(transform="standard", blend=0.5),
    "augment": AugmentConfig(blur_px=2.0, noise=0.1, brightness=0.0, contrast=0.0),
}


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
    refiner=ComponentConfig(
        name="resnet", options={"width": 16, "padding": "replicate", "noise_channels": 1, "keep_background": True}
    ),
    discriminator=ComponentConfig(name="local", options=SMALL_DISCRIMINATOR),
    loss=LossConfig(weight=8.0),
    history=HistoryConfig(size=3200, dtype="float32"),
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
        refiner=AdamConfig(learning_rate=1e-3), discriminator=AdamConfig(learning_rate=1e-3), ema=0.99
    ),
    evaluation=EvaluationConfig(
        evaluator=ComponentConfig(name="hands", options={"features": 24, "stacks": 1, "maps": 32}),
        images=6000,
        epochs=8,
        batch=32,
        learning_rate=3e-3,
        **BASELINES,
    ),
)

HANDS_NYU = RunConfig(
    data=DataConfig(**dict.fromkeys(FOLDERS, _source("nyu", root="data/NYU"))),
    refiner=ComponentConfig(name="resnet", options=HAND_REFINER),
    discriminator=ComponentConfig(name="local", options=HAND_DISCRIMINATOR),
    loss=LossConfig(weight=1.0),
    history=HistoryConfig(size=1600, dtype="float32"),
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
        evaluator=ComponentConfig(name="hands"), images=72_757, epochs=10, batch=32, learning_rate=2.5e-4, **BASELINES
    ),
)

RECIPES = {"hands": HANDS, "hands-nyu": HANDS_NYU}
