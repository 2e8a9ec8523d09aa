"""Settings of the proof: the estimator, its budget, and what simulated images are compared with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthreal.config.component import Component, Frozen


class FDAConfig(Frozen):
    """Fourier domain adaptation (Yang and Soatto 2020): low frequencies take the amplitudes of a real image."""

    beta: float = Field(
        default=0.1, ge=0, le=0.5, description="Low frequencies that are exchanged, as a share of the shorter side."
    )


class HistogramConfig(Frozen):
    """Histogram matching: every image takes the grey levels of a real one."""

    blend: float = Field(default=1.0, ge=0, le=1, description="Share of the matched image in the result.")


class PixelDistributionConfig(Frozen):
    """Pixel distribution adaptation: the pixels' moments become those of a real image."""

    transform: Literal["pca", "standard", "minmax"] = Field(
        default="standard", description="What is matched: principal axes, mean and deviation, or the range."
    )
    blend: float = Field(default=1.0, ge=0, le=1, description="Share of the adapted image in the result.")


class AugmentConfig(Frozen):
    """Ordinary augmentation; every image draws its own strength, up to these."""

    blur_px: float = Field(default=1.0, ge=0, description="Deviation of a Gaussian blur in px.")
    noise: float = Field(default=0.05, ge=0, description="Deviation of independent noise on [0, 1] images.")
    brightness: float = Field(default=0.2, ge=0, description="Change of brightness, either way, on [0, 1] images.")
    contrast: float = Field(default=0.3, ge=0, lt=1, description="Relative change of contrast, either way.")


class EvaluationConfig(Frozen):
    """The downstream proof: the same budget for every arm."""

    evaluator: Component | None = Field(default=None, description="The domain's estimator; none = no evaluation.")
    images: int = Field(default=5000, ge=20, description="Training images of every arm, a tenth of them held out.")
    epochs: int = Field(default=10, ge=1, description="Passes over them; the best on the held-out tenth is kept.")
    batch: int = Field(default=64, ge=1, description="Images a mini-batch of the estimator.")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Adam's step length for the estimator, cosine to zero."
    )
    fda: FDAConfig = Field(default=FDAConfig(), description="The arm fda.")
    histogram: HistogramConfig = Field(default=HistogramConfig(), description="The arm histogram.")
    pixel_distribution: PixelDistributionConfig = Field(
        default=PixelDistributionConfig(), description="The arm pixel-distribution."
    )
    augment: AugmentConfig = Field(default=AugmentConfig(), description="The arms augment and refined+augment.")
