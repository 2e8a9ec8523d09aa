"""Options of a component: their base class, and types of their fields."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from synthreal.errors import UserError, printable

# Of every model of settings: immutable, unknown keys and NaN refused.
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Options(BaseModel):
    """Base class of the options of a component: frozen, unknown keys are refused. By itself it means "no options"."""

    model_config = STRICT


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("must be odd, so that it has a centre")
    return side


OddSide = Annotated[int, AfterValidator(_odd)]


def _printable(name: str) -> str:
    if (shown := printable(name)) != name:
        raise ValueError(f"{shown} is not UTF-8 or has control characters; rename it")
    return name


PrintableName = Annotated[str, AfterValidator(_printable)]  # can be written to config.toml and in messages
# "~" is the home folder; expanduser of Path raises if there is no such user.
UserPath = Annotated[PrintableName, AfterValidator(os.path.expanduser)]


def require_model(options: Any, where: str) -> None:
    """Raise ``UserError`` unless the options of the spec ``where`` are a pydantic model."""
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise UserError(f"{where}: options is {options!r}; give a subclass of synthreal.Options")
