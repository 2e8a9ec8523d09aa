"""The simulated images that refining moved most and least.

Movement is measured in the units of the labels by a cached estimator trained on simulated images, if there is one
(:mod:`synthreal.metrics.label_drift` states its limits). The alternatives are the landmark detector of the domain, the
displacement of the content, then the mean change of the pixels. Writing a page trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.data.source import Source
from synthreal.device import configure_process
from synthreal.errors import UserError
from synthreal.evaluation.cache import FOLDER, load_cached
from synthreal.evaluation.estimator import Task
from synthreal.evaluation.training_sets import TrainingSet
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.metrics.displacement import displacement_field, is_measurable
from synthreal.metrics.label_drift import annotation_drift, predicts_labels
from synthreal.metrics.landmark_shift import landmark_shift
from synthreal.report.record import Record
from synthreal.results.schema import BASE
from synthreal.train.sources import first_images, is_inside, open_data

COUNT = 256  # images that are refined for the page
EXAMPLES = 6


@dataclass(frozen=True)
class RefinedImages:
    """Simulated images ``(N, C, H, W)`` in [0, 1], their refined versions and how far each has moved; on the CPU."""

    simulated: Tensor
    refined: Tensor
    distance: Tensor  # (N,)
    unit: str  # of distance: "deg", "px", or empty
    measure: str  # the distance in words

    def extremes(self) -> tuple[list[int], list[int]]:
        """Rows of the images that moved most, in falling order, and least, in rising order; no row is in both."""
        order = torch.argsort(self.distance, stable=True).tolist()
        count = min(EXAMPLES, len(order) // 2)
        return order[::-1][:count], order[:count]


def measure_drift(
    record: Record, device: torch.device, on_refine: Callable[[int], None], *, trust: bool = False
) -> RefinedImages:
    """Refine the first simulated images of a run and measure how far they move.

    ``on_refine`` is called with their number first. Raises ``UserError`` without refiner or plugin, with fewer than
    two images or, without ``trust``, if the images would be read from outside the run directory.
    """
    catalog = Catalog.of_run(record.config, record.run, trust=trust)
    config = resolve(record.config, catalog)
    if not trust and not is_inside(config, catalog, "simulated", record.run):
        raise UserError(
            f"{record.run}: data.simulated ({config.data.simulated.name}) lies outside the run directory; if you trust "
            "the run to read it, give --trust (Python: trust=True)"
        )
    configure_process(config.runtime)
    transform = Refine.load(record.run, device=str(device))
    source = open_data(config, catalog, "simulated", device=device, run_dir=record.run)
    simulated = first_images(source, COUNT)
    if len(simulated) < 2:
        raise UserError(f"{record.run}: fewer than two simulated images; fit a run with more")
    on_refine(len(simulated))
    refined = refine_resident(transform, simulated, config.image.dtype)
    distance, unit, measure = _movement(record.run, config, catalog, source, simulated, refined)
    return RefinedImages(to_unit(simulated.image).cpu(), to_unit(refined.image).cpu(), distance.cpu(), unit, measure)


def _movement(
    run: Path, config: ResolvedConfig, catalog: Catalog, source: Source, simulated: Resident, refined: Resident
) -> tuple[Tensor, str, str]:
    """Distance, unit and measure."""
    x, y = to_unit(simulated.image), to_unit(refined.image)
    if (component := config.evaluation.evaluator) is not None:
        spec = catalog.evaluator(component.name)
        model = None
        if any((run / FOLDER).glob(f"{BASE}-*.safetensors")):  # else the training images need not be read
            data = TrainingSet(first_images(source, config.evaluation.images))
            model = load_cached(run / FOLDER, BASE, Task.of(config, catalog, x.device), data)
        if model is not None and predicts_labels(spec, model, simulated):
            distance = annotation_drift(spec, model, simulated, refined).moved[spec.primary]
            predictions = "the predictions of the cached estimator (trained on simulated images) for x and R(x)"
            limits = "This is an upper bound, because refined images are new to the estimator"
            return distance, spec.primary.rpartition("_")[2], f"{spec.primary} between {predictions}. {limits}"
        if spec.locate is not None:
            measure = f"the shift of the landmarks that the detector of {spec.name} finds, px"
            return landmark_shift(spec.locate, x, y), "px", measure
    if is_measurable(x):
        measure = "the mean displacement of the content between x and R(x), px"
        return displacement_field(x, y).per_image(), "px", measure
    return (y - x).abs().flatten(1).mean(1), "", "the mean change of the pixels, |R(x) - x|"
