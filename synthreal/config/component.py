"""Components: parts of the configuration that are chosen by name and have options of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from synthreal.spec import STRICT


def named(value: Any) -> Any:
    """Expand a bare name to a table."""
    return {"name": value} if isinstance(value, str) else value


def listed(value: Any) -> Any:
    """Wrap a single component in a list."""
    return [value] if isinstance(value, str | Mapping | BaseModel) else value


class Frozen(BaseModel):
    """Base of all settings: immutable, unknown keys refused."""

    model_config = STRICT


class ComponentConfig(Frozen):
    """A component and its options; a bare name means default options."""

    name: str = Field(description="Name under which a plugin registered the component.")
    options: dict[str, Any] = Field({}, description="Options of the component.")


class SourceConfig(ComponentConfig):
    """A data set in one role."""

    count: int | None = Field(
        None,
        ge=1,
        description="Number of images: of files a random choice, the same in every run (seed 0); of a simulator the "
        "first, drawn once. none = all, or endless.",
    )


class FeatureConfig(ComponentConfig):
    """One psi and its weight in the self-regularization loss."""

    weight: float = Field(1.0, gt=0, description="Weight of this psi's mean absolute difference.")


Component = Annotated[ComponentConfig, BeforeValidator(named)]
Source = Annotated[SourceConfig, BeforeValidator(named)]
Feature = Annotated[FeatureConfig, BeforeValidator(named)]
