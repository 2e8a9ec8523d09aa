"""The whole configuration: data, networks, game, evaluation and runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from synthreal.config.component import Component, ComponentConfig, Feature, FeatureConfig, Frozen, Source, listed
from synthreal.config.evaluation import EvaluationConfig
from synthreal.config.toml import describe_error, from_none, merge, parse_toml, to_none
from synthreal.config.training import HistoryConfig, OptimizerConfig, QualityConfig, ScheduleConfig
from synthreal.errors import UserError
from synthreal.spec import ImageSpec, PrintableName


class DataConfig(Frozen):
    """Data sets by role."""

    simulated: Source = Field(description="Labelled simulated images, the input of R.")
    real: Source = Field(description="Unlabelled real images; their labels, if any, are dropped when they are read.")
    real_labelled: Source | None = Field(None, description="Labelled real images, used only for the upper bound.")
    validation: Source | None = Field(None, description="Labelled real images of other identities, to choose settings.")
    test: Source | None = Field(None, description="Labelled real images for the final evaluation.")


class LossConfig(Frozen):
    """The loss of R: adversarial + weight x self-regularization, both means (paper Eq. 1, 4)."""

    weight: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        default=1.0,
        description="lambda, the weight of mean |psi(R(x)) - psi(x)| on [0, 1] images; auto = adapted during the game "
        "so that refining displaces the content of images by drift_px at most.",
    )
    drift_px: float = Field(
        0.5,
        gt=0,
        description="Displacement in px between x and R(x) that 95 % of the content may have with auto.",
    )
    initial_weight: float = Field(8.0, gt=0, description="lambda at the start of the game with weight=auto.")

    @property
    def more_change(self) -> str:
        """What to do so that R changes images more, for messages."""
        return "raise loss.drift_px" if self.weight == "auto" else "lower loss.weight"

    @property
    def less_change(self) -> str:
        """What to do so that R changes images less, for messages."""
        return "lower loss.drift_px" if self.weight == "auto" else "raise loss.weight"


class RuntimeConfig(Frozen):
    """Seed, device and performance settings."""

    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, data order, history and noise.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:1; auto = a GPU if any, one per torchrun process.")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto = bfloat16 where supported.")
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        "auto",
        description="Images per pass of the networks; gradients accumulate. On a CPU auto is 131,072 px of images, at "
        "most half a mini-batch; none = the whole mini-batch.",
    )
    layout: Literal["channels_last", "channels_first"] = Field(
        "channels_last", description="Memory format of the networks; channels_last is faster on CPUs and tensor cores."
    )
    compile: Literal["auto"] | bool = Field(
        "auto", description="torch.compile; auto = on a GPU for 2,000 steps or more, because it takes a minute."
    )
    autotune: bool = Field(True, description="Let cuDNN time its algorithms on the first batch and use the fastest.")
    keep_memory: bool = Field(True, description="Keep freed memory for the next step; do not return it to the kernel.")
    threads: int | None = Field(None, ge=1, description="CPU threads of torch in each process; none = torch's default.")
    resident_gib: float | None = Field(
        None,
        ge=0,
        description="GiB of device memory for a data set; larger packs are read during training, larger simulated sets "
        "are refused; none = half of the free memory.",
    )


class RunConfig(Frozen):
    """A run, as a recipe or a user writes it."""

    recipe: str = Field("", description="Recipe this configuration is based on; choose with --recipe.")
    plugins: tuple[Annotated[PrintableName, Field(max_length=4096)], ...] = Field(
        (), description="Plugins to load: names, modules or files; choose with --plugin."
    )
    image: ImageSpec | None = Field(None, description="Format of all images; none = the first that the data declare.")
    data: DataConfig = Field(description="Data sets by role.")
    refiner: Component = Field(ComponentConfig(name="resnet"), description="R.")
    discriminator: Component = Field(ComponentConfig(name="local"), description="D.")
    features: Annotated[tuple[Feature, ...], BeforeValidator(listed)] = Field(
        (FeatureConfig(name="identity"),), min_length=1, description="psi: one or several, summed by weight."
    )
    loss: LossConfig = Field(LossConfig(), description="The objective of R.")
    history: HistoryConfig | None = Field(HistoryConfig(), description="The history of refined images; none = off.")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="Numbers of steps and updates.")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="Optimizers of R and D.")
    quality: QualityConfig | None = Field(
        QualityConfig(), description="Label-free quality monitoring; none = off, the last weights are saved."
    )
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="The downstream evaluation.")
    runtime: RuntimeConfig = Field(RuntimeConfig(), description="Seed, device and performance.")

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, value: Any) -> Any:
        return from_none(value)

    def tree(self) -> dict[str, Any]:
        """The configuration as plain nested dictionaries, None where a setting is off."""
        return self.model_dump(mode="python")

    def to_toml(self) -> str:
        """The whole tree as TOML; ``type(c).from_toml(c.to_toml()) == c``."""
        return tomli_w.dumps(to_none(self.tree()))

    @classmethod
    def from_toml(cls, text: str, *, source: str = "config") -> Self:
        """Read a whole tree. Raises ``UserError`` naming ``source`` and the setting."""
        return cls.from_tree(parse_toml(text, source=source), source=source)

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], *, source: str = "config") -> Self:
        """Validate nested dictionaries. Raises ``UserError`` with the dotted path of the first offender."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UserError(f"{source}: {describe_error(error, cls)}") from None
        except UserError as error:  # of the image
            raise UserError(f"{source}: {error}") from None

    def changed(self, *differences: Mapping[str, Any], source: str = "config") -> Self:
        """This configuration with nested differences merged into it; later ones take precedence.

        ``recipe`` and ``plugins`` record its origin: a difference may repeat them but not change them.
        """
        tree: Mapping[str, Any] = self.tree()
        for difference in differences:
            tree = merge(tree, from_none(difference))
        changed = type(self).from_tree(tree, source=source)
        for name, option in (("recipe", "--recipe"), ("plugins", "--plugin")):
            before, after = getattr(self, name), getattr(changed, name)
            if before != after:
                raise UserError(f"{source}: {name} is {before!r} here and cannot be {after!r}; choose with {option}")
        return changed


class ResolvedConfig(RunConfig):
    """A configuration after :func:`synthreal.hooks.resolve.resolve`: names known, options written out, image set."""

    image: ImageSpec = Field(description="Format of all images.")
