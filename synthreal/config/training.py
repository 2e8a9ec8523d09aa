"""Settings of the training: history, schedule, optimizers and quality monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from synthreal.config.component import Frozen, named


class HistoryConfig(Frozen):
    """The history of refined images (paper 2.3)."""

    size: int = Field(6400, ge=2, description="Images in the history, over all processes.")
    dtype: Literal["uint8", "float16", "float32"] = Field("uint8", description="Storage type on the device.")


class ScheduleConfig(Frozen):
    """Algorithm 1 in steps; one step counter runs through the three phases."""

    refiner_steps: int = Field(1000, ge=0, description="Steps that train R alone, on self-regularization.")
    discriminator_steps: int = Field(200, ge=0, description="Steps that train D alone.")
    steps: int = Field(2000, ge=0, description="Steps of the game, which trains both.")
    refiner_updates: int = Field(2, ge=1, description="K_g: updates of R in a game step.")
    discriminator_updates: int = Field(1, ge=1, description="K_d: updates of D in a game step.")
    batch: int = Field(
        32, ge=2, multiple_of=2, description="b: mini-batch size over all processes; even (half is from the history)."
    )
    patch: int | None = Field(None, ge=1, description="Side in px of random training crops; none = whole images.")
    report_every: int = Field(50, ge=1, description="Steps between lines of log.jsonl.")
    save_every: int = Field(500, ge=1, description="Steps between checkpoints.")
    sheet_every: int = Field(500, ge=1, description="Steps between contact sheets.")

    @property
    def total(self) -> int:
        """Steps of all three phases."""
        return self.refiner_steps + self.discriminator_steps + self.steps

    def phase(self, step: int) -> Literal["refiner", "discriminator", "game"]:
        """The phase that step number ``step``, counted from 0, belongs to."""
        if step < self.refiner_steps:
            return "refiner"
        return "discriminator" if step < self.refiner_steps + self.discriminator_steps else "game"

    def game_steps(self, step: int) -> int:
        """Game steps among the first ``step`` steps; negative before the game begins."""
        return step - self.total + self.steps


class SGDConfig(Frozen):
    """Stochastic gradient descent, as in Algorithm 1."""

    name: Literal["sgd"] = Field("sgd", description="Optimizer type.")
    learning_rate: float = Field(gt=0, description="Rate on mean losses: the paper's times the number of patches.")
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum; the paper states none.")


class AdamConfig(Frozen):
    """Adam."""

    name: Literal["adam"] = Field("adam", description="Optimizer type.")
    learning_rate: float = Field(2e-4, gt=0, description="Learning rate.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")


class QualityConfig(Frozen):
    """Label-free quality monitoring; :mod:`synthreal.train.monitor` defines the score."""

    every: int = Field(250, ge=1, description="Game steps between quality reports; the last step has one, too.")
    images: int = Field(500, ge=20, description="Simulated and real images to compare; distances use at most 500.")
    keep: Literal["best", "last"] = Field("best", description="Weights in refiner.safetensors: best score, or last.")
    patience: int | None = Field(None, ge=1, description="Reports without improvement that end training; none = never.")


def _optimizer(value: Any) -> Any:
    return {"name": "adam", **value} if isinstance(value, Mapping) else named(value)


Optimizer = Annotated[Annotated[SGDConfig | AdamConfig, Field(discriminator="name")], BeforeValidator(_optimizer)]


class OptimizerConfig(Frozen):
    """Optimizers of both networks."""

    refiner: Optimizer = Field(AdamConfig(), description="Optimizer of R.")
    discriminator: Optimizer = Field(AdamConfig(), description="Optimizer of D.")
    ema: float | None = Field(0.99, gt=0, lt=1, description="Decay, per update, of R's averaged weights; none = off.")
