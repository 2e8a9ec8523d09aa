"""The hand domain: a drawn or rendered hand to a drawn depth camera or NYU's. A table of contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from synthreal import DatasetSpec, EvaluatorSpec, hookimpl
from synthreal.config import RunConfig
from synthreal_hands import camera, estimator, nyu, recipes, render
from synthreal_hands.cube import CROP, JOINTS, XYZ, hand_image

SIDES = {"": 64, "-224": 224}


@hookimpl
def synthreal_datasets() -> Iterator[DatasetSpec]:
    """``simulator`` and ``camera`` are drawn, 64 px wide or, with ``-224``, 224; ``nyu`` is read."""
    for suffix, side in SIDES.items():
        yield DatasetSpec(
            name=f"simulator{suffix}",
            role="simulated",
            image=hand_image(side),
            labels=render.labels_of(side),
            options=render.SimulatorOptions,
            render=partial(render.simulator, side=side),
        )
        for role in camera.IDENTITIES:
            yield DatasetSpec(
                name=f"camera{suffix}",
                role=role,
                image=hand_image(side),
                labels=(JOINTS, XYZ, CROP),
                options=camera.CameraOptions,
                render=partial(camera.camera, role=role, side=side),
            )
    for place in nyu.FOLDERS:
        yield DatasetSpec(
            name="nyu",
            role=place,
            image=hand_image(nyu.SIDE),
            labels=nyu.LABELS,
            options=nyu.NYUOptions,
            read=partial(nyu.nyu, role=place),
        )


@hookimpl
def synthreal_evaluators() -> Iterable[EvaluatorSpec]:
    """The hand-pose estimator of the paper."""
    return (estimator.EVALUATOR,)


@hookimpl
def synthreal_recipes() -> Mapping[str, RunConfig]:
    """``hands``: the embedded default; ``hands-nyu``: the paper's."""
    return recipes.RECIPES
