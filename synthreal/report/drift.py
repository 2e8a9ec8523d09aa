"""Which images refining moved most and least, and by what measure: the labels' own, where something can read them.

Best is a kept estimator, trained on simulated images: it reads the label itself (:mod:`synthreal.metrics.label_drift`
says how far to trust it). Nothing is trained for a page. Else the domain's detector tells how far its points moved, and
where there is none, the mean change of the pixels stands in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.device import configure_process
from synthreal.evaluation.cache import FOLDER, load_cached
from synthreal.evaluation.estimator import Task
from synthreal.evaluation.training_sets import TrainingSet
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.metrics.label_drift import annotation_drift, predicts_labels
from synthreal.metrics.landmark_shift import landmark_shift
from synthreal.report.record import Record
from synthreal.results.schema import BASE
from synthreal.spec import EvaluatorSpec
from synthreal.train.sources import first_images, open_role

COUNT = 512
SMALL_PX = 128 * 128  # of larger images half as many are refined
EACH = 6


@dataclass(frozen=True)
class Drifted:
    """Simulated images and what became of them, on the CPU.

    Attributes:
        simulated: ``(N, C, H, W)`` in [0, 1].
        refined: the same.
        by: how far each moved, ``(N,)``.
        unit: of ``by``: "deg", "px", or empty.
        measure: a sentence on what ``by`` is.
        worst: rows that moved most, first the most.
        best: rows that moved least, first the least.
    """

    simulated: Tensor
    refined: Tensor
    by: Tensor
    unit: str
    measure: str
    worst: tuple[int, ...]
    best: tuple[int, ...]


def drifted(record: Record, device: torch.device, on_refine: Callable[[int], None]) -> Drifted:
    """Refine the first simulated images of a run and sort them by how far that moved them.

    Args:
        record: the run.
        device: where to refine.
        on_refine: told how many images are about to be refined, which may take a minute.

    Raises:
        UserError: no refiner yet, a plugin that is not there, data that cannot be read.
    """
    run = record.run
    catalog = Catalog.of(record.config.plugins)
    config = resolve(record.config, catalog)
    assert config.image is not None, "read_config() sees to it"
    configure_process(config.runtime)
    transform = Refine.load(run, device=str(device))
    small = config.image.height * config.image.width <= SMALL_PX
    source = open_role(config, catalog, "simulated", device=device, run_dir=run)
    simulated = first_images(source, COUNT if small else COUNT // 2)
    on_refine(len(simulated))
    refined = refine_resident(transform, simulated, config.image.dtype)
    x, y = to_unit(simulated.image), to_unit(refined.image)

    component, found = config.evaluation.evaluator, None
    if component is not None:
        spec = catalog.evaluator(component.name)
        if any((run / FOLDER).glob(f"{BASE}-*.safetensors")):
            data = TrainingSet(first_images(source, config.evaluation.images))
            model = load_cached(run / FOLDER, BASE, Task.of(config, catalog, device), data)
            found = None if model is None else _by_estimator(spec, model, simulated, refined)
        if found is None and spec.locate is not None:
            told = f"how far the points that the detector of {spec.name} finds lie apart on x and R(x), px"
            found = landmark_shift(spec.locate, x, y).cpu(), "px", told
    if found is None:
        found = (y - x).abs().flatten(1).mean(1).cpu(), "", "the mean change of an image's pixels, |R(x) - x|"
    by, unit, measure = found
    order = torch.argsort(by, stable=True).tolist()
    each = min(EACH, len(order) // 2)
    return Drifted(x.cpu(), y.cpu(), by, unit, measure, tuple(order[::-1][:each]), tuple(order[:each]))


def _by_estimator(
    spec: EvaluatorSpec, model: torch.nn.Module, simulated: Resident, refined: Resident
) -> tuple[Tensor, str, str] | None:
    """By the estimator's own primary metric; None where the task does not say how to read a prediction as labels."""
    if not predicts_labels(spec, model, simulated):
        return None
    return (
        annotation_drift(spec, model, simulated, refined).moved[spec.primary],
        spec.primary.rpartition("_")[2],
        f"{spec.primary} between what the kept estimator, trained on simulated images, reads on x and on R(x); an "
        "upper bound, since refined images are new to it and it errs on them for that alone",
    )
