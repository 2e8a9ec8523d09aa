"""Components chosen by name, with options of their own: what every part of the configuration is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def named(value: Any) -> Any:
    """A bare name as the table it stands for."""
    return {"name": value} if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """One component as a list of one."""
    return [value] if isinstance(value, str | Mapping | BaseModel) else value


class Frozen(BaseModel):
    """Settings that cannot be changed, nor misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ComponentConfig(Frozen):
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


Component = Annotated[ComponentConfig, BeforeValidator(named)]
Source = Annotated[SourceConfig, BeforeValidator(named)]
Feature = Annotated[FeatureConfig, BeforeValidator(named)]
