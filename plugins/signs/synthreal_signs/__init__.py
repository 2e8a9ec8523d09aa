"""The domain of traffic signs: data sets, evaluator and recipes, as hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, hookimpl
from synthreal.config import RunConfig
from synthreal_signs import estimator, gtsrb, recipes, simulator
from synthreal_signs.geometry import SIGN
from synthreal_signs.tracks import SPLITS


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` is rendered; ``gtsrb`` is read from files."""
    yield DatasetSpec(
        name="simulator",
        role="simulated",
        image=SIGN,
        labels=simulator.LABELS,
        options=simulator.SimulatorOptions,
        render=simulator.render_simulator,
    )
    for role in SPLITS:
        read = partial(gtsrb.read_gtsrb, role=role)
        yield DatasetSpec(
            name="gtsrb", role=role, image=SIGN, labels=gtsrb.LABELS, options=gtsrb.GTSRBOptions, read=read
        )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """``signs``: a classifier of speed limits."""
    return (estimator.EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``signs`` (default, for a CPU) and ``signs-full`` (for a GPU)."""
    return recipes.RECIPES
