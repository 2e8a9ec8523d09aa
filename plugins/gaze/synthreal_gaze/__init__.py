"""The gaze domain: UnityEyes or a drawn simulator to MPIIGaze or a drawn camera. A table of contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, RunConfig, hookimpl
from synthreal_gaze.camera import IDENTITIES, CameraOptions, camera
from synthreal_gaze.estimator import EVALUATOR
from synthreal_gaze.eye import LABELS
from synthreal_gaze.geometry import EYE
from synthreal_gaze.mpiigaze import LABELS as MPIIGAZE_LABELS
from synthreal_gaze.mpiigaze import PERSONS, MPIIGazeOptions, mpiigaze
from synthreal_gaze.recipes import RECIPES
from synthreal_gaze.render import SimulatorOptions, simulator
from synthreal_gaze.unityeyes import LABELS as UNITYEYES_LABELS
from synthreal_gaze.unityeyes import UnityEyesOptions, unityeyes


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` and ``camera`` are drawn; ``unityeyes`` and ``mpiigaze`` are read."""
    yield DatasetSpec(
        name="simulator", role="simulated", image=EYE, labels=LABELS, options=SimulatorOptions, render=simulator
    )
    yield DatasetSpec(
        name="unityeyes",
        role="simulated",
        image=EYE,
        labels=UNITYEYES_LABELS,
        options=UnityEyesOptions,
        read=unityeyes,
    )
    for role in IDENTITIES:
        labels = () if role == "real" else LABELS
        draw = partial(camera, role=role)
        yield DatasetSpec(name="camera", role=role, image=EYE, labels=labels, options=CameraOptions, render=draw)
    for role in PERSONS:
        labels = () if role == "real" else MPIIGAZE_LABELS
        read = partial(mpiigaze, role=role)
        yield DatasetSpec(name="mpiigaze", role=role, image=EYE, labels=labels, options=MPIIGazeOptions, read=read)


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """The gaze estimator of the paper."""
    return (EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``gaze``: the embedded default; ``gaze-mpiigaze``: the paper's."""
    return RECIPES
