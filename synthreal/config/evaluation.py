"""Settings of the evaluation: the estimator, its training budget, and the alternatives to refining."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthreal.config.component import Component, Frozen


class FDAConfig(Frozen):
    """Fourier domain adaptation (Yang and Soatto 2020): take the low-frequency amplitudes of a real image."""

    beta: float = Field(0.1, ge=0, le=0.5, description="Exchanged low-frequency window as a share of the shorter side.")


class HistogramConfig(Frozen):
    """Histogram matching: take the grey levels of a real image."""

    blend: float = Field(1.0, ge=0, le=1, description="Weight of the matched image in the result.")


class PixelDistributionConfig(Frozen):
    """Pixel distribution adaptation: an affine map gives the pixels the statistics of a real image."""

    transform: Literal["pca", "standard", "minmax"] = Field(
        "standard", description="Matched statistics: covariance of channels, mean and standard deviation, or range."
    )
    blend: float = Field(1.0, ge=0, le=1, description="Weight of the adapted image in the result.")


class AugmentConfig(Frozen):
    """Ordinary augmentation; each image draws its strengths uniformly up to these maxima."""

    blur_px: float = Field(1.0, ge=0, le=100, description="Standard deviation of a Gaussian blur in px.")
    noise: float = Field(0.05, ge=0, description="Standard deviation of independent noise, [0, 1] scale.")
    brightness: float = Field(0.2, ge=0, description="Change of brightness in either direction, [0, 1] scale.")
    contrast: float = Field(0.3, ge=0, lt=1, description="Relative change of contrast in either direction.")


class EvaluationConfig(Frozen):
    """The downstream evaluation; every arm has the same training budget."""

    evaluator: Component | None = Field(None, description="The domain's estimator; none = no evaluation.")
    images: int = Field(
        5000, ge=20, description="Training images of each arm (versions: of each version); a tenth is held out."
    )
    epochs: int = Field(10, ge=1, description="Epochs; the one with the lowest held-out error is kept.")
    batch: int = Field(64, ge=1, description="Mini-batch size of the estimator.")
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="Highest learning rate of the estimator (Adam); it rises over the first tenth of the steps, then "
        "falls to 0.",
    )
    calibration: int | None = Field(
        9,
        ge=1,
        description="Labelled real images to calibrate each estimator with, which tells a constant offset from "
        "scatter; none = the error after calibration is not measured.",
    )
    fda: FDAConfig = Field(FDAConfig(), description="Settings of the arm fda.")
    histogram: HistogramConfig = Field(HistogramConfig(), description="Settings of the arm histogram.")
    pixel_distribution: PixelDistributionConfig = Field(
        PixelDistributionConfig(), description="Settings of the arm pixel-distribution."
    )
    augment: AugmentConfig = Field(
        AugmentConfig(), description="Settings of the arms augment, refined+augment and augment+teacher."
    )
