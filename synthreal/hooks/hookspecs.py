"""The five hooks of a plugin: each takes no argument, is optional, and returns values.

A plugin is a module with functions of these names, marked ``@synthreal.hookimpl``. Nothing is registered by side
effect: the catalog calls each function once, and knows which distribution every value comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synthreal.config import RunConfig
    from synthreal.spec import DatasetSpec, EvaluatorSpec, FeatureSpec, NetworkSpec

PROJECT = "synthreal"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a module as one of the five hooks of a plugin."""


@hookspec
def synthreal_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Data sets: readers of files (``read``) and simulators (``render``).

    A reader yields images ``(C, H, W)`` in their stored dtype with labels ``(*L)``, one at a time. A simulator returns
    batches of images ``(B, C, H, W)``, float32 in [0, 1], with labels ``(B, *L)``.
    """


@hookspec
def synthreal_networks() -> Iterable[NetworkSpec]:  # type: ignore[empty-body]
    """Networks: refiners and discriminators.

    A refiner maps images ``(B, C, H, W)`` in [0, 1] to images of the same shape and range. A discriminator maps them to
    logits ``(B, 1, h, w)``; a logit > 0 means "refined".
    """


@hookspec
def synthreal_features() -> Iterable[FeatureSpec]:  # type: ignore[empty-body]
    """Feature transforms psi ``(B, C, H, W) -> (B, D, h, w)``; self-regularization compares psi(x) and psi(R(x))."""


@hookspec
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Downstream tasks: a model, its loss and its metrics ``(B,)`` or ``(B, K)``; a lower primary metric is better."""


@hookspec
def synthreal_recipes() -> Mapping[str, RunConfig]:  # type: ignore[empty-body]
    """Complete run configurations by name. The plugin's default is the one named like it, else the first."""
