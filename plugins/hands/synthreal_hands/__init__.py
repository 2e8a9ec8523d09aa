"""The hand domain: data sets, evaluator and recipes, as hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, hookimpl
from synthreal.config import RunConfig
from synthreal_hands import camera, estimator, nyu, recipes, simulator
from synthreal_hands.cube import CROP, JOINTS, XYZ, hand_image

SIDES = {"": 64, "-224": 224}


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` and ``camera`` are rendered at 64 px or, with suffix ``-224``, at 224 px; ``nyu`` is read."""
    for suffix, side in SIDES.items():
        yield DatasetSpec(
            name=f"simulator{suffix}",
            role="simulated",
            image=hand_image(side),
            labels=simulator.simulator_labels(side),
            options=simulator.SimulatorOptions,
            render=partial(simulator.render_simulator, side=side),
        )
        for role in camera.IDENTITIES:
            yield DatasetSpec(
                name=f"camera{suffix}",
                role=role,
                image=hand_image(side),
                labels=(JOINTS, XYZ, CROP),
                options=camera.CameraOptions,
                render=partial(camera.render_camera, role=role, side=side),
            )
    for role in nyu.FOLDERS:
        yield DatasetSpec(
            name="nyu",
            role=role,
            image=hand_image(nyu.SIDE),
            labels=nyu.LABELS,
            options=nyu.NYUOptions,
            read=partial(nyu.read_nyu, role=role),
        )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """``hands``: the paper's hand-pose estimator."""
    return (estimator.EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``hands`` (default, for a CPU) and ``hands-nyu`` (the paper's)."""
    return recipes.RECIPES
