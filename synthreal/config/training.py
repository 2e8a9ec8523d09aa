"""Settings of the game: losses, history, schedule and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from synthreal.config.component import Frozen, named


class LossConfig(Frozen):
    """The refiner's objective: adversarial + weight x self-regularization, both means (paper Eq. 1, 4)."""

    weight: float = Field(default=1.0, ge=0, description="lambda on mean |psi(R(x)) - psi(x)| of [0, 1] images.")


class HistoryConfig(Frozen):
    """The buffer of past refined images (paper 2.3)."""

    size: int = Field(default=6400, ge=2, description="Images kept, by all processes together.")
    dtype: Literal["uint8", "float16", "float32"] = Field(
        default="uint8", description="How they are stored on the device."
    )


class ScheduleConfig(Frozen):
    """Algorithm 1 in steps; one counter runs through the three phases."""

    refiner_steps: int = Field(default=1000, ge=0, description="Steps of R alone on self-regularization.")
    discriminator_steps: int = Field(default=200, ge=0, description="Steps of D alone.")
    steps: int = Field(default=2000, ge=0, description="Steps of the game.")
    refiner_updates: int = Field(default=2, ge=1, description="K_g: R updates a step of the game.")
    discriminator_updates: int = Field(default=1, ge=1, description="K_d: D updates a step of the game.")
    batch: int = Field(
        default=32,
        ge=2,
        multiple_of=2,
        description="b: images a mini-batch of all processes, even (half fresh, half past).",
    )
    patch: int | None = Field(
        default=None,
        ge=1,
        description="Side in px of the random square crops R and D train on; none = whole images. "
        "Refining takes whole images always.",
    )
    report_every: int = Field(default=50, ge=1, description="Steps between two lines of log.jsonl.")
    save_every: int = Field(default=500, ge=1, description="Steps between two checkpoints.")
    sheet_every: int = Field(default=500, ge=1, description="Steps between two contact sheets.")

    @property
    def total(self) -> int:
        """Steps of all three phases."""
        return self.refiner_steps + self.discriminator_steps + self.steps


class SGDConfig(Frozen):
    """Stochastic gradient descent, as Algorithm 1 prints it."""

    name: Literal["sgd"] = Field(default="sgd", description="The kind of optimizer.")
    learning_rate: float = Field(gt=0, description="Step length on mean losses (paper's x patches a map).")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Heavy-ball momentum; the paper gives none.")


class AdamConfig(Frozen):
    """Adam."""

    name: Literal["adam"] = Field(default="adam", description="The kind of optimizer.")
    learning_rate: float = Field(default=2e-4, gt=0, description="Step length.")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of the second moment.")


class QualityConfig(Frozen):
    """Looking at quality without labels while the game is played; the rule is in :mod:`synthreal.train.monitor`."""

    every: int = Field(default=250, ge=1, description="Steps of the game between two looks; the last step is one too.")
    images: int = Field(
        default=500, ge=20, description="Simulated and real images that are looked at; the distances take 500 at most."
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="Which weights refiner.safetensors holds: those of the best look, or the last."
    )
    patience: int | None = Field(
        default=None, ge=1, description="Looks without a better one after which the fit ends; none = never."
    )


def _optimizer(value: Any) -> Any:
    return {"name": "adam", **value} if isinstance(value, Mapping) else named(value)


Optimizer = Annotated[Annotated[SGDConfig | AdamConfig, Field(discriminator="name")], BeforeValidator(_optimizer)]


class OptimizerConfig(Frozen):
    """How the two players learn."""

    refiner: Optimizer = Field(default=AdamConfig(), description="Optimizer of R.")
    discriminator: Optimizer = Field(default=AdamConfig(), description="Optimizer of D.")
    ema: float | None = Field(
        default=0.99, gt=0, lt=1, description="Decay a R update of R's averaged weights; none = off."
    )
