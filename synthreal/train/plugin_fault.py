"""Faults of a plugin's functions, reported in one line that names the function and the place in its file."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from synthreal.errors import UserError


class _InvalidResult(Exception):
    """A function of a plugin returned a wrong value."""


def require(valid: bool, message: str) -> None:
    """In a block of :func:`reporting`: raise ``UserError`` with the block's name and ``message`` unless ``valid``."""
    if not valid:
        raise _InvalidResult(message)


@contextmanager
def reporting(name: str, remedy: str = "correct it there") -> Iterator[None]:
    """Turn any exception in the block into a ``UserError`` with the plugin's function and the place in its file.

    Args:
        name: the function, such as "evaluator 'gaze': loss".
        remedy: what to change if the function fails; the messages of :func:`require` have their own.
    """
    try:
        yield
    except UserError:
        raise
    except _InvalidResult as error:
        raise UserError(f"{name} {error}") from None
    except Exception as error:  # a plugin's code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())[:200]
        failed = f"{name} fails: {type(error).__name__}: {message} ({place.filename}:{place.lineno})"
        raise UserError(f"{failed}; {remedy}") from error


def shape_of(value: Any) -> str:
    """The shape of a tensor, or the type of anything else, for messages."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
