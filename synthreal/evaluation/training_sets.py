"""The arms: what a user could train on instead, all from the same simulated images in the same order.

``refined`` is ours. ``fda``, ``histogram`` and ``pixel-distribution`` give every simulated image the style of a random
unlabelled real one (albumentations); ``augment`` is the simulated images under ordinary augmentation, other strengths
every time; ``mixed`` refines every other image; ``real`` is labelled real images, the upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from synthreal.config import AugmentConfig, EvaluationConfig, ResolvedConfig
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident
from synthreal.data.seed import derived_generator
from synthreal.errors import UserError
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import BASE
from synthreal.spec import Role, StoredDtype
from synthreal.train.sources import first_images

REAL = "real"
ADAPTED = ("fda", "histogram", "pixel-distribution")
ARMS = (BASE, "refined", *ADAPTED, "augment", "refined+augment", "mixed", REAL)
PER_IMAGE = (BASE, "refined", *ADAPTED)  # of every simulated image, once and for all
DEFAULT = (BASE, "refined", "histogram", REAL)
PART = 256

Adapt = Callable[[Tensor, Tensor], Tensor]


def select_arms(names: Iterable[str] | None, config: ResolvedConfig) -> tuple[str, ...]:
    """The arms to train, in the order of the table; ``simulated``, which the others are compared with, always.

    Args:
        names: names, or ``all``; None is the default. Both leave ``real`` out where there are no labelled real images.
        config: the run's.

    Raises:
        UserError: no name or an unknown one; ``real`` without labelled real images.
    """
    labelled = config.data.real_labelled is not None
    asked = list(DEFAULT if names is None else names)
    if not asked:
        raise UserError(f"--arms: names no arm; choose of {', '.join(ARMS)}, or all")
    if unknown := [name for name in asked if name not in (*ARMS, "all")]:
        raise UserError(f"--arms: there is no arm {unknown[0]!r}; choose of {', '.join(ARMS)}, or all")
    if REAL in asked and names is not None and not labelled:
        raise UserError(f"--arms: {REAL} needs data.real_labelled, which is none in this run; leave it out")
    wanted = {*(ARMS if "all" in asked else asked), BASE} - (set() if labelled else {REAL})
    return tuple(name for name in ARMS if name in wanted)


@dataclass(frozen=True)
class TrainingSet:
    """What an estimator is trained on: images with labels, and how they are augmented as they are drawn."""

    images: Resident
    augment: AugmentConfig | None = None


class TrainingSets:
    """The training sets of a run, made as they are asked for; simulated and refined images are kept.

    Args:
        run: the run directory.
        config: its resolved configuration.
        opened: the data of a role.
        device: where the images live.
    """

    def __init__(self, run: Any, config: ResolvedConfig, opened: Callable[[Role], Any], device: torch.device) -> None:
        self.config, self.opened = config.evaluation, opened
        self.dtype: StoredDtype = config.image.dtype
        self.simulated = first_images(opened("simulated"), self.config.images)
        transform = Refine.load(run, device=str(device))
        self.weights = weights_sha256(transform.refiner)
        self.refined = refine_resident(transform, self.simulated, self.dtype)

    def __getitem__(self, arm: str) -> TrainingSet:
        """The training set of an arm."""
        config = self.config
        if arm in ("augment", "refined+augment"):
            return TrainingSet(self.simulated if arm == "augment" else self.refined, config.augment)
        if arm == REAL:
            return TrainingSet(first_images(self.opened("real_labelled"), config.images))
        if arm == "mixed":
            image = self.simulated.image.clone()
            image[1::2] = self.refined.image[1::2]
            return TrainingSet(Resident(image, self.simulated.labels))
        if arm in ADAPTED:
            real = first_images(self.opened("real"), config.images)
            return TrainingSet(adapt_images(arm, _adapt(arm, config), self.simulated, real, self.dtype))
        return TrainingSet(self.simulated if arm == BASE else self.refined)


def _adapt(arm: str, config: EvaluationConfig) -> Adapt:
    from synthreal.adapters import albumentations  # a second, and not everywhere: for these arms only

    if arm == "fda":
        return partial(albumentations.fda, **config.fda.model_dump())
    if arm == "histogram":
        return partial(albumentations.histogram, **config.histogram.model_dump())
    return partial(albumentations.pixel_distribution, **config.pixel_distribution.model_dump())


def adapt_images(arm: str, adapt: Adapt, simulated: Resident, real: Resident, dtype: StoredDtype) -> Resident:
    """Each simulated image in the style of a random real one, the labels untouched."""
    partner = torch.randint(len(real), (len(simulated),), generator=derived_generator("cpu", 0, arm)).to(real.device)
    out = torch.empty_like(simulated.image)
    for rows in torch.arange(len(simulated)).split(PART):
        out[rows] = from_unit(adapt(to_unit(simulated.image[rows]), to_unit(real.image[partner[rows]])), dtype)
    return Resident(out, simulated.labels)
