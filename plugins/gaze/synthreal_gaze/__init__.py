"""The gaze domain: data sets, evaluator and recipes, as hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, hookimpl
from synthreal.config import RunConfig
from synthreal_gaze import camera, estimator, eye, mpiigaze, recipes, simulator, unityeyes
from synthreal_gaze.geometry import EYE


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` and ``camera`` are rendered; ``unityeyes`` and ``mpiigaze`` are read from files."""
    yield DatasetSpec(
        name="simulator",
        role="simulated",
        image=EYE,
        labels=eye.LABELS,
        options=simulator.SimulatorOptions,
        render=simulator.render_simulator,
    )
    yield DatasetSpec(
        name="unityeyes",
        role="simulated",
        image=EYE,
        labels=unityeyes.LABELS,
        options=unityeyes.UnityEyesOptions,
        read=unityeyes.read_unityeyes,
    )
    for role in camera.IDENTITIES:
        draw = partial(camera.render_camera, role=role)
        yield DatasetSpec(
            name="camera", role=role, image=EYE, labels=eye.LABELS, options=camera.CameraOptions, render=draw
        )
    for role in mpiigaze.PERSONS:
        read = partial(mpiigaze.read_mpiigaze, role=role)
        yield DatasetSpec(
            name="mpiigaze", role=role, image=EYE, labels=mpiigaze.LABELS, options=mpiigaze.MPIIGazeOptions, read=read
        )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """``gaze``: the paper's gaze estimator."""
    return (estimator.EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``gaze`` (default, for a CPU), ``gaze-full`` (for a GPU) and ``gaze-mpiigaze`` (the paper's)."""
    return recipes.RECIPES
