"""The whole extension surface: five hooks, argument-free, all optional, all returning values.

A plugin is any module with functions of these names, marked ``@synthreal.hookimpl``. Nothing is registered by
side effect: the catalog calls each implementation once and knows which distribution gave what.
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


@hookspec
def synthreal_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Sources of images: readers of files (``read``) and simulators that draw (``render``).

    Images are ``(C, H, W)`` per sample or float32 ``(B, C, H, W)`` in [0, 1] per drawn batch; labels ``(*L)``.
    """


@hookspec
def synthreal_networks() -> Iterable[NetworkSpec]:  # type: ignore[empty-body]
    """Refiners ``(B, C, H, W) -> same`` in [0, 1] and discriminators ``-> (B, 1, h, w)`` logits, > 0 = refined."""


@hookspec
def synthreal_features() -> Iterable[FeatureSpec]:  # type: ignore[empty-body]
    """Feature transforms psi ``(B, C, H, W) -> (B, D, h, w)`` on which self-regularization compares x and R(x)."""


@hookspec
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:  # type: ignore[empty-body]
    """Downstream tasks: a model, its loss and its metrics ``(B,)``, the primary one lower-is-better."""


@hookspec
def synthreal_recipes() -> Mapping[str, RunConfig]:  # type: ignore[empty-body]
    """Named, complete run configurations. The one named like the plugin, else the first, is its default."""
