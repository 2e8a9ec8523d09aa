"""The whole tree: data, networks, game, proof and machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from synthreal.config.component import Component, ComponentConfig, Feature, FeatureConfig, Frozen, Source, listed
from synthreal.config.evaluation import EvaluationConfig
from synthreal.config.toml import describe_error, from_none, merge, parse_toml, to_none
from synthreal.config.training import HistoryConfig, LossConfig, OptimizerConfig, QualityConfig, ScheduleConfig
from synthreal.errors import UserError
from synthreal.spec import ImageSpec


class DataConfig(Frozen):
    """Where images come from, by role."""

    simulated: Source = Field(description="Labelled simulated images, to be refined.")
    real: Source = Field(description="Unlabelled real images; any labels they have are dropped on reading.")
    real_labelled: Source | None = Field(default=None, description="Labelled real images for the upper bound alone.")
    validation: Source | None = Field(
        default=None, description="Labelled real images of other identities, to choose settings."
    )
    test: Source | None = Field(default=None, description="Labelled real images, touched once per evaluation.")


class RuntimeConfig(Frozen):
    """The machine, and the seed."""

    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of weights, data order, history and noise.")
    device: str = Field(
        default="auto",
        description='"auto", "cpu", "cuda" or "cuda:1"; auto takes a GPU when there is one, under torchrun each '
        "process one of its own.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Arithmetic of the networks; auto is bfloat16 where the hardware has it."
    )
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default="auto",
        description="Images that pass through the networks at once, gradients adding up over the mini-batch; auto is "
        "as many as hold 131,072 px on a CPU, half a mini-batch at most; none = the whole mini-batch.",
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
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of torch in each process; none = torch's own choice."
    )
    resident_gib: float | None = Field(
        default=None,
        ge=0,
        description="GiB a data set may hold on the device; larger packs are read as they are used, larger simulators "
        "refused; none = half of what is free.",
    )


class RunConfig(Frozen):
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
    features: Annotated[tuple[Feature, ...], BeforeValidator(listed)] = Field(
        default=(FeatureConfig(name="identity"),), min_length=1, description="psi: one or several, summed by weight."
    )
    loss: LossConfig = Field(default=LossConfig(), description="The objective of R.")
    history: HistoryConfig | None = Field(default=HistoryConfig(), description="The history buffer; none = off.")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="How long and in what order.")
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), description="How the players learn.")
    quality: QualityConfig | None = Field(
        default=QualityConfig(), description="Looks without labels while training; none = off, the last weights stay."
    )
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
            raise UserError(f"{source}: {describe_error(error, cls)}") from None

    def changed(self, *differences: Mapping[str, Any], source: str = "config") -> RunConfig:
        """This configuration with nested differences laid over it, later ones winning.

        ``recipe`` and ``plugins`` say where it comes from: a difference may repeat them, not change them.
        """
        tree: Mapping[str, Any] = self.tree()
        for difference in differences:
            tree = merge(tree, from_none(difference))
        changed = RunConfig.from_tree(tree, source=source)
        for name, option in (("recipe", "--recipe"), ("plugins", "--plugin")):
            before, after = getattr(self, name), getattr(changed, name)
            if before != after:
                raise UserError(
                    f"{source}: {name} is {before!r} here and cannot become {after!r}; choose with {option}"
                )
        return changed
