"""The arms: training sets to compare, all made of the same simulated images in the same order.

``refined`` holds refined images. ``versions`` is what this library recommends: each image in three versions, refined,
and refined and then in the styles ``fda`` and ``histogram`` of a random unlabelled real image, as ``refine --samples
3`` writes them, for no more training steps. ``fda``, ``histogram`` and ``pixel-distribution`` are the styles of
simulated images (``core/styles.py``). ``augment`` is ordinary augmentation, drawn again for every batch. ``mixed``
alternates simulated and refined images. ``augment+teacher`` and ``versions+teacher`` add the unlabelled real images,
labelled by the estimator of the arm in front (``self_training.py``). ``real`` is labelled real images, the upper bound.

Versions tried on validation splits (2026-12-01, before estimators had a warm-up, one fitted run; two estimators for
gaze, four for signs, one for hands; bfloat16). deg, % and px:

| training set | gaze | signs | hands |
| --- | --- | --- | --- |
| simulated | 8.84 | 15.5 | 9.22 |
| refined | 6.36 | 11.4 | 6.71 |
| fda | 6.69 | 12.1 | |
| histogram | 7.36 | 9.9 | |
| refined, and simulated in fda | 6.03 | 11.7 | |
| refined, and simulated in histogram | 6.43 | 7.7 | |
| refined, and simulated in both styles | 6.06 | 8.9 | |
| the same and simulated | 6.28 | | |
| refined in fda alone | 6.34 | | |
| refined in histogram alone | 6.65 | 8.1 | |
| refined, and refined in fda | 5.90 | | |
| refined, and refined in fda twice | 5.90 | | |
| refined, and refined in histogram | 6.46 | 7.7 | 6.85 |
| **refined, and refined in both styles** | 5.93 | 8.0 | 6.95 |
| the same from a bank of 128 real images | 5.95 | 8.2 | |
| the same with weak augmentation | 6.05 | 10.2 | |

Styles before R instead of after it, with R trained on such images: each simulated eye as it is, in fda and in
histogram, then refined (the warm-up of estimators included, two fitted runs): 6.30 and 6.49 deg, where ``versions`` are
6.05 and 6.31; with lambda 3 instead of 8, 6.66. Refined signs of the style histogram: 12.0 % (recipe ``signs``).

Weak augmentation is half of the default of ``evaluation.augment``. Four trainings on signs differ by 1 to 2 %, with it
by 5: 5.6 to 18.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from synthreal.config import AugmentConfig, ResolvedConfig
from synthreal.core.style_bank import VERSION_COUNT
from synthreal.core.styles import fda, histogram, pixel_distribution
from synthreal.data.encoding import from_unit, to_unit
from synthreal.data.resident import Resident, prediction_batches
from synthreal.data.seed import derived_generator
from synthreal.data.simulator import SimulatorSource
from synthreal.data.source import Source
from synthreal.errors import UserError
from synthreal.evaluation.calibration import Photographs
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.inference.weights import weights_sha256
from synthreal.results.schema import BASE
from synthreal.spec import Role, StoredDtype
from synthreal.train.sources import first_images

REFINED = "refined"
REAL = "real"
ADAPTED: Mapping[str, Callable[..., Tensor]] = {
    "fda": fda,
    "histogram": histogram,
    "pixel-distribution": pixel_distribution,
}
VERSIONS = "versions"
TEACHER = "+teacher"
TAUGHT = ("augment" + TEACHER, VERSIONS + TEACHER)
ARMS = (BASE, REFINED, VERSIONS, *ADAPTED, "augment", "refined+augment", "mixed", *TAUGHT, REAL)
PER_IMAGE = (BASE, REFINED, *ADAPTED)  # one fixed image for every simulated image
DEFAULT = (BASE, REFINED, VERSIONS, "histogram", REAL)
UNTESTED = (*PER_IMAGE, REAL)  # arms whose quality can be measured without testing an estimator


def select_arms(
    names: Iterable[str] | None, config: ResolvedConfig, *, tested: bool, labels: int = 1
) -> tuple[str, ...]:
    """The arms of an evaluation in the order of :data:`ARMS`, always with ``simulated``, the base of every comparison.

    ``names`` may hold ``all``; None is the default. Both omit ``real`` if the run has no labelled real images, arms
    that are only made to train on if none is ``tested``, and those with a teacher if the task has several ``labels``,
    since a camera's position, say, cannot be answered from an image.
    """
    requested = list((DEFAULT if tested else UNTESTED) if names is None else names)
    labelled = config.data.real_labelled is not None
    if not requested:
        raise UserError(f"--arms: names no arm; choose of {', '.join(ARMS)}, or all")
    if unknown := [name for name in requested if name not in (*ARMS, "all")]:
        raise UserError(f"--arms: there is no arm {unknown[0]!r}; choose of {', '.join(ARMS)}, or all")
    if REAL in requested and names is not None and not labelled:
        raise UserError(f"--arms: {REAL} needs data.real_labelled, which is none in this run; leave it out")
    if labels > 1 and (taught := [name for name in requested if name in TAUGHT]):
        raise UserError(f"--arms: {taught[0]} needs a task with one label, this one has {labels}; leave it out")
    omitted = {*(() if labelled else (REAL,)), *(TAUGHT if labels > 1 else ())}
    selected = {*(ARMS if "all" in requested else requested), BASE} - omitted
    return tuple(name for name in (ARMS if tested else UNTESTED) if name in selected)


@dataclass(frozen=True)
class TrainingSet:
    """Images with labels to train an estimator on, and the augmentation of every batch.

    ``versions`` x N images are N images in that many versions: first all N in one, then all N in the next. Unlabelled
    ``photographs`` make half of every batch, with the labels of a teacher, an estimator trained without them.
    """

    images: Resident
    augment: AugmentConfig | None = None
    versions: int = 1
    photographs: Resident | None = None


class TrainingSets:
    """The training sets of a run by arm, of ``count`` images, made on access; simulated and refined ones are held."""

    def __init__(
        self,
        run: Path,
        config: ResolvedConfig,
        open_role: Callable[[Role], Source],
        device: torch.device,
        *,
        count: int,
    ) -> None:
        self.config, self.open_role, self.dtype, self.count = config.evaluation, open_role, config.image.dtype, count
        self.has_labelled = config.data.real_labelled is not None
        self.simulated = first_images(open_role("simulated"), count)
        self.transform = Refine.load(run, device=str(device))
        self.weights = weights_sha256(self.transform.refiner)
        self.refined = refine_resident(self.transform, self.simulated, self.dtype)

    @property
    def has_styles(self) -> bool:
        """Whether the run holds the styles of its real images; old ones do not."""
        return self.transform.about is not None and self.transform.about.styles is not None

    @cached_property
    def real(self) -> Source:
        """The unlabelled real images, opened once."""
        return self.open_role("real")

    @cached_property
    def labelled(self) -> Source:
        """The labelled real images, opened once."""
        return self.open_role("real_labelled")

    @cached_property
    def photographs(self) -> Photographs | None:
        """The labelled real images to calibrate estimators with; None if there are none."""
        if self.config.calibration is None or not self.has_labelled:
            return None
        labelled = self.labelled
        assert not isinstance(labelled, SimulatorSource), "resolve() rejects simulators in this role"
        return Photographs.choose(labelled, self.config.calibration, trained=self.count)

    def __getitem__(self, arm: str) -> TrainingSet:
        """The training set of an arm."""
        if arm in TAUGHT:
            return replace(self[arm.removesuffix(TEACHER)], photographs=first_images(self.real, self.count))
        if arm in ("augment", "refined+augment"):
            return TrainingSet(self.simulated if arm == "augment" else self.refined, self.config.augment)
        if arm == REAL:
            return TrainingSet(first_images(self.labelled, self.count))
        if arm == "mixed":
            image = self.simulated.image.clone()
            image[1::2] = self.refined.image[1::2]
            return TrainingSet(Resident(image, self.simulated.labels))
        if arm == VERSIONS:
            others = range(1, VERSION_COUNT)
            adapted = (refine_resident(self.transform, self.simulated, self.dtype, version=k) for k in others)
            images = [self.refined, *adapted]
            labels = {name: torch.cat([values] * VERSION_COUNT) for name, values in self.simulated.labels.items()}
            return TrainingSet(Resident(torch.cat([part.image for part in images]), labels), versions=VERSION_COUNT)
        if arm in ADAPTED:
            real = first_images(self.real, self.count)
            adapt = partial(ADAPTED[arm], **getattr(self.config, arm.replace("-", "_")).model_dump())
            return TrainingSet(adapt_images(arm, adapt, self.simulated, real, self.dtype))
        return TrainingSet(self.simulated if arm == BASE else self.refined)


def adapt_images(
    arm: str, adapt: Callable[[Tensor, Tensor], Tensor], simulated: Resident, real: Resident, dtype: StoredDtype
) -> Resident:
    """Give each simulated image the style of a random real one; the labels do not change."""
    partner = torch.randint(len(real), (len(simulated),), generator=derived_generator("cpu", 0, arm)).to(real.device)
    out = torch.empty_like(simulated.image)
    for rows in prediction_batches(simulated):
        out[rows] = from_unit(adapt(to_unit(simulated.image[rows]), to_unit(real.image[partner[rows]])), dtype)
    return Resident(out, simulated.labels)
