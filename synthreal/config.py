"""The configuration of a run: one tree of frozen pydantic models, complete before step 0, never written to afterwards.

Precedence: recipe < ``--config file.toml`` < ``--set dotted.key=value``. Off is None; TOML has no null, so None is
written and read as the string ``"none"``. Every error names the dotted path and, for a wrong key, the near miss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from synthreal.errors import UserError
from synthreal.settings import explain, from_none, overlay, parse_toml, to_none
from synthreal.spec import ImageSpec


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping | BaseModel) else value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ComponentConfig(_Frozen):
    """A component chosen by name; a bare name stands for its default options."""

    name: str = Field(description="Name under which a plugin registered the component.")
    options: dict[str, Any] = Field(default={}, description="Its own options; checked against the component's model.")


class SourceConfig(ComponentConfig):
    """A data set in one role."""

    count: int | None = Field(
        default=None,
        ge=1,
        description="Images to draw once, or the first N to read; none = all there are, or endless drawing.",
    )


class FeatureConfig(ComponentConfig):
    """One psi and its share of the self-regularization loss."""

    weight: float = Field(default=1.0, gt=0, description="Factor of this psi's mean absolute difference in the sum.")


Component = Annotated[ComponentConfig, BeforeValidator(_named)]
Source = Annotated[SourceConfig, BeforeValidator(_named)]
Feature = Annotated[FeatureConfig, BeforeValidator(_named)]


class DataConfig(_Frozen):
    """Where images come from, by role."""

    simulated: Source = Field(description="Labelled simulated images, to be refined.")
    real: Source = Field(description="Unlabelled real images; any labels they have are dropped on reading.")
    real_labelled: Source | None = Field(default=None, description="Labelled real images for the upper bound alone.")
    validation: Source | None = Field(
        default=None, description="Labelled real images of other identities, to choose settings."
    )
    test: Source | None = Field(default=None, description="Labelled real images, touched once per evaluation.")


class LossConfig(_Frozen):
    """The refiner's objective: adversarial + weight x self-regularization, both means (paper Eq. 1, 4)."""

    weight: float = Field(default=1.0, ge=0, description="lambda on mean |psi(R(x)) - psi(x)| of [0, 1] images.")


class HistoryConfig(_Frozen):
    """The buffer of past refined images (paper 2.3)."""

    size: int = Field(default=6400, ge=2, description="Images kept.")
    dtype: Literal["uint8", "float16", "float32"] = Field(
        default="uint8", description="How they are stored on the device."
    )


class ScheduleConfig(_Frozen):
    """Algorithm 1 in steps; one counter runs through the three phases."""

    refiner_steps: int = Field(default=1000, ge=0, description="Steps of R alone on self-regularization.")
    discriminator_steps: int = Field(default=200, ge=0, description="Steps of D alone.")
    steps: int = Field(default=2000, ge=0, description="Steps of the game.")
    refiner_updates: int = Field(default=2, ge=1, description="K_g: R updates a step of the game.")
    discriminator_updates: int = Field(default=1, ge=1, description="K_d: D updates a step of the game.")
    batch: int = Field(
        default=32, ge=2, multiple_of=2, description="b: images a mini-batch, even (half fresh, half past)."
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


class SGDConfig(_Frozen):
    """Stochastic gradient descent, as Algorithm 1 prints it."""

    name: Literal["sgd"] = Field(default="sgd", description="The kind of optimizer.")
    learning_rate: float = Field(gt=0, description="Step length on mean losses (paper's x patches a map).")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Heavy-ball momentum; the paper gives none.")


class AdamConfig(_Frozen):
    """Adam."""

    name: Literal["adam"] = Field(default="adam", description="The kind of optimizer.")
    learning_rate: float = Field(default=2e-4, gt=0, description="Step length.")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="Decay of the second moment.")


def _optimizer(value: Any) -> Any:
    return {"name": "adam", **value} if isinstance(value, Mapping) else _named(value)


Optimizer = Annotated[Annotated[SGDConfig | AdamConfig, Field(discriminator="name")], BeforeValidator(_optimizer)]


class OptimizerConfig(_Frozen):
    """How the two players learn."""

    refiner: Optimizer = Field(default=AdamConfig(), description="Optimizer of R.")
    discriminator: Optimizer = Field(default=AdamConfig(), description="Optimizer of D.")
    ema: float | None = Field(
        default=0.99, gt=0, lt=1, description="Decay a R update of R's averaged weights; none = off."
    )


class EvaluationConfig(_Frozen):
    """The downstream proof: the same budget for every arm."""

    evaluator: Component | None = Field(default=None, description="The domain's estimator; none = no evaluation.")
    images: int = Field(default=5000, ge=20, description="Training images of every arm, a tenth of them held out.")
    epochs: int = Field(default=10, ge=1, description="Passes over them; the best on the held-out tenth is kept.")
    batch: int = Field(default=64, ge=1, description="Images a mini-batch of the estimator.")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="Adam's step length for the estimator, cosine to zero."
    )


class RuntimeConfig(_Frozen):
    """The machine, and the seed."""

    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of weights, data order, history and noise.")
    device: str = Field(
        default="auto", description='"auto", "cpu", "cuda" or "cuda:1"; auto takes a GPU when there is one.'
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Arithmetic of the networks; auto is bfloat16 where the hardware has it."
    )
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default="auto",
        description="Images that pass through the networks at once, gradients adding up over the mini-batch; auto is "
        "as many as hold 131,072 px on a CPU, none = the whole mini-batch.",
    )
    layout: Literal["channels_last", "channels_first"] = Field(
        default="channels_last",
        description="Memory order of the networks' maps; channels_last suits matrix units and CPUs alike.",
    )
    compile: Literal["auto"] | bool = Field(
        default="auto",
        description="Whether torch.compile fuses the networks; auto is on a GPU when the schedule has 2,000 steps or "
        "more (compiling takes a minute), and never on a CPU, where it gains nothing.",
    )
    autotune: bool = Field(
        default=True,
        description="Whether cuDNN tries its algorithms on a GPU's first batch and keeps the fastest.",
    )
    keep_memory: bool = Field(
        default=True,
        description="Whether the process keeps freed memory for its next step instead of handing it to the kernel.",
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; none = torch's own choice.")
    resident_gib: float | None = Field(
        default=None,
        ge=0,
        description="GiB a data set may hold on the device; larger packs are read as they are used, larger simulators "
        "refused; none = half of what is free.",
    )


class RunConfig(_Frozen):
    """A complete run."""

    recipe: str = Field(default="", description="The recipe this configuration started from; chosen with --recipe.")
    plugins: tuple[str, ...] = Field(
        default=(), description="Plugins that are loaded: names, modules or files; chosen with --plugin."
    )
    image: ImageSpec | None = Field(
        default=None, description="What every image is; none takes that of the first data set that says so."
    )
    data: DataConfig = Field(description="Data sets by role.")
    refiner: Component = Field(default=ComponentConfig(name="resnet"), description="R.")
    discriminator: Component = Field(default=ComponentConfig(name="local"), description="D.")
    features: Annotated[tuple[Feature, ...], BeforeValidator(_listed)] = Field(
        default=(FeatureConfig(name="identity"),), min_length=1, description="psi: one or several, summed by weight."
    )
    loss: LossConfig = Field(default=LossConfig(), description="The objective of R.")
    history: HistoryConfig | None = Field(default=HistoryConfig(), description="The history buffer; none = off.")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="How long and in what order.")
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), description="How the players learn.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="How refined images are judged.")
    runtime: RuntimeConfig = Field(default=RuntimeConfig(), description="Where and with what seed it runs.")

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, value: Any) -> Any:
        return from_none(value)

    def tree(self) -> dict[str, Any]:
        """The configuration as plain nested dictionaries, None where a setting is off."""
        return self.model_dump(mode="python")

    def to_toml(self) -> str:
        """The whole tree as TOML; ``RunConfig.from_toml(c.to_toml()) == c``."""
        return tomli_w.dumps(to_none(self.tree()))

    @classmethod
    def from_toml(cls, text: str, *, source: str = "config") -> RunConfig:
        """Read a whole tree. Raises ``UserError`` naming ``source`` and the setting."""
        return cls.from_tree(parse_toml(text, source=source), source=source)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], *, source: str = "config") -> RunConfig:
        """Validate nested dictionaries. Raises ``UserError`` with the dotted path of the first offender."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UserError(f"{source}: {explain(error, cls)}") from None

    def changed(self, *differences: Mapping[str, Any], source: str = "config") -> RunConfig:
        """This configuration with nested differences laid over it, later ones winning.

        ``recipe`` and ``plugins`` say where it comes from: a difference may repeat them, not change them.
        """
        tree: Mapping[str, Any] = self.tree()
        for difference in differences:
            tree = overlay(tree, from_none(difference))
        changed = RunConfig.from_tree(tree, source=source)
        for name, option in (("recipe", "--recipe"), ("plugins", "--plugin")):
            before, after = getattr(self, name), getattr(changed, name)
            if before != after:
                raise UserError(
                    f"{source}: {name} is {before!r} here and cannot become {after!r}; choose with {option}"
                )
        return changed
