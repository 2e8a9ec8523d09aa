"""The gaze domain: UnityEyes or a drawn simulator to MPIIGaze or a drawn camera. A table of contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, hookimpl
from synthreal.config import RunConfig
from synthreal_gaze import camera, estimator, eye, mpiigaze, recipes, render, unityeyes
from synthreal_gaze.geometry import EYE


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` and ``camera`` are drawn; ``unityeyes`` and ``mpiigaze`` are read."""
    yield DatasetSpec(
        name="simulator",
        role="simulated",
        image=EYE,
        labels=eye.LABELS,
        options=render.SimulatorOptions,
        render=render.simulator,
    )
    yield DatasetSpec(
        name="unityeyes",
        role="simulated",
        image=EYE,
        labels=unityeyes.LABELS,
        options=unityeyes.UnityEyesOptions,
        read=unityeyes.unityeyes,
    )
    for role in camera.IDENTITIES:
        draw = partial(camera.camera, role=role)
        yield DatasetSpec(
            name="camera", role=role, image=EYE, labels=eye.LABELS, options=camera.CameraOptions, render=draw
        )
    for role in mpiigaze.PERSONS:
        read = partial(mpiigaze.mpiigaze, role=role)
        yield DatasetSpec(
            name="mpiigaze", role=role, image=EYE, labels=mpiigaze.LABELS, options=mpiigaze.MPIIGazeOptions, read=read
        )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """The gaze estimator of the paper."""
    return (estimator.EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``gaze``: the embedded default; ``gaze-full``: for a GPU; ``gaze-mpiigaze``: the paper's."""
    return recipes.RECIPES
