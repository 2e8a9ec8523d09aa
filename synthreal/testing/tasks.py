"""Rules of the downstream task: the estimator learns, metrics are sane, and the detector follows what it detects.

Evaluators are tried with the options of the recipe that uses them, on simulated images with labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from synthreal.data.encoding import from_unit
from synthreal.data.resident import Resident
from synthreal.evaluation.estimator import constant_metrics, measure
from synthreal.metrics.landmark_shift import detect, distance
from synthreal.results.schema import CONTROL_PX
from synthreal.spec import Batch, EvaluatorSpec
from synthreal.testing.domain import Domain
from synthreal.testing.outcome import RuleSkipped
from synthreal.train.dry_run import try_evaluator
from synthreal.train.plugin_fault import reporting, require, shape_of

MEMORISED, VARIED = 8, 64  # images: learned by heart, and of all kinds
STEPS, EVERY = 400, 20
LEARNED = 0.25  # share of the error of a constant answer that an over-fitted model may have left
PERFECT = 0.01
CONTROL_TOLERANCE_PX = 0.5


def overfits(domain: Domain) -> str:
    """The estimator learns 8 images by heart: its error falls to a quarter of a constant answer's in 400 steps."""

    def check(spec: EvaluatorSpec, options: Any, batch: Batch) -> str:
        _dry_run(domain, spec, options, batch)
        data = _resident(domain, batch)
        constant = constant_metrics(spec, batch.labels, data)[spec.primary]
        with reporting(f"evaluator {spec.name!r}"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = spec.build(options, domain.config.image)
            optimizer = torch.optim.Adam(model.parameters(), lr=domain.config.evaluation.learning_rate)
            for step in range(1, STEPS + 1):
                model.train()
                loss = spec.loss(model(batch.image), batch.labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if step % EVERY == 0:
                    error = float(measure(spec, model, data)[spec.primary].mean())
                    if error <= LEARNED * constant:
                        break
            require(
                error <= LEARNED * constant,
                f"does not learn {MEMORISED} images by heart: {spec.primary} is {error:.3g} after {STEPS} steps, a "
                f"constant answer's {constant:.3g}; look at loss (is it of this prediction and these labels?), "
                "evaluation.learning_rate and the size of the model",
            )
        return f"{spec.primary} {error:.3g} after {step} steps (constant answer: {constant:.3g})"

    return _each(domain, _evaluators(domain), MEMORISED, check)


def metrics(domain: Domain) -> str:
    """A perfect prediction has a perfect score, a wrong one has not, and no prediction gives NaN."""

    def check(spec: EvaluatorSpec, options: Any, batch: Batch) -> str:
        _dry_run(domain, spec, options, batch)
        with reporting(f"evaluator {spec.name!r}: metrics"), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            model = spec.build(options, domain.config.image).eval()
            pred = model(batch.image)
            wrong = constant_metrics(spec, batch.labels, _resident(domain, batch))[spec.primary]
            require(
                wrong > 0, f"gives a constant answer {spec.primary} = {wrong:.3g}; a wrong answer needs an error > 0"
            )
            exact, labels = _perfect(spec, pred, batch)
            worst = _worst(spec, exact, labels)
            require(
                worst <= PERFECT * wrong,
                f"gives a perfect prediction {spec.primary} = {worst:.3g}; it must be 0, lower is better (percentages: "
                "count errors, not successes)",
            )
            if spec.quantities is not None and spec.assign is not None:
                worst = _worst(spec, spec.assign(exact, spec.quantities(labels)), labels)
                require(
                    worst <= PERFECT * wrong,
                    f"gives a prediction with the true quantities {spec.primary} = {worst:.3g}; correct quantities and "
                    "assign until it is 0",
                )
                others = {name: values.roll(1, 0) for name, values in spec.quantities(batch.labels).items()}
                worst = _worst(spec, spec.assign(exact, others), labels)
                require(
                    worst > PERFECT * wrong,
                    f"gives a prediction with the quantities of other images {spec.primary} = {worst:.3g}; assign must "
                    "replace those of its prediction",
                )
            cases = {"a perfect prediction": (exact, labels)}
            for name, value in (("black", 0.0), ("white", 1.0)):
                cases[f"{name} images"] = model(torch.full_like(batch.image, value)), dict(batch.labels)
            if isinstance(pred, Tensor) and pred.is_floating_point():
                for k in (0.0, 1e6):
                    cases[f"predictions times {k:g}"] = k * pred, dict(batch.labels)
            for case, given in cases.items():
                for name, values in spec.metrics(*given).items():
                    finite = bool(torch.isfinite(values).all())
                    remedy = "clamp before sqrt, acos and log, and divide by clamp_min(1e-6)"
                    require(finite, f"gives {name} = NaN or infinity for {case}; {remedy}")
        return f"{spec.primary} of a constant answer: {wrong:.3g}"

    return _each(domain, _evaluators(domain), VARIED, check)


def detector(domain: Domain) -> str:
    """The detector finds the landmarks, and what it detects moves by 2 px with an image that moves by 2 px."""

    def check(spec: EvaluatorSpec, options: Any, batch: Batch) -> str:
        assert spec.locate is not None, "only evaluators with a detector are tried"
        x, (height, width) = batch.image, batch.image.shape[-2:]
        right = pad(x, (CONTROL_PX, 0, 0, 0), mode="replicate")[..., :width]
        down = pad(x, (0, 0, CONTROL_PX, 0), mode="replicate")[..., :height, :]
        with reporting(f"evaluator {spec.name!r}: locate"):
            on_x, on_right, on_down = (detect(spec.locate, images) for images in (x, right, down))
            valid = on_x.ndim == 3 and len(on_x) == len(x) and on_x.shape[-1] == 2
            require(valid, f"returns {shape_of(on_x)} for {len(x)} images; return (B, K, 2) px, x and y")
            finite = all(bool(torch.isfinite(found).all()) for found in (on_x, on_right, on_down))
            require(finite, "returns NaN or infinity; give a position for every image, such as its centre")
            for found, (dx, dy), way in ((on_right, (CONTROL_PX, 0), "right"), (on_down, (0, CONTROL_PX), "down")):
                mx, my = (found - on_x).flatten(0, 1).median(dim=0).values.tolist()
                require(
                    abs(mx - dx) <= CONTROL_TOLERANCE_PX and abs(my - dy) <= CONTROL_TOLERANCE_PX,
                    f"moves by x {mx:.2f}, y {my:.2f} px where images move {way} by {CONTROL_PX} px; return px of the "
                    "image, x before y, from geometry that follows the object",
                )
        if spec.landmarks is None or spec.landmarks not in batch.labels:
            return f"follows a shift of {CONTROL_PX} px"
        truth = batch.labels[spec.landmarks]
        with reporting(f"evaluator {spec.name!r}: landmarks"):
            require(truth.shape == on_x.shape, f"is {shape_of(truth)}, locate gives {shape_of(on_x)}; make them equal")
            error, spread = (float(distance(found, truth).mean()) for found in (on_x, truth.mean(0, keepdim=True)))
            require(
                error <= spread / 2,
                f"{spec.landmarks!r} are {error:.2f} px from what locate detects, no better than half of a guess "
                f"({spread:.2f} px); correct locate, or the label",
            )
        return f"follows a shift of {CONTROL_PX} px; {error:.2f} px from the label"

    with_detector = [spec for spec in _evaluators(domain) if spec.locate is not None]
    if not with_detector:
        raise RuleSkipped("no evaluator has a detector (locate)")
    return _each(domain, with_detector, VARIED, check)


def _evaluators(domain: Domain) -> list[EvaluatorSpec]:
    """Evaluators to try: the default recipe's, and the plugin's own. Raises ``RuleSkipped`` if there are none."""
    used = domain.config.evaluation.evaluator
    specs = [*([] if used is None else [domain.catalog.evaluator(used.name)]), *domain.evaluators]
    if not specs:
        raise RuleSkipped("the plugin has no evaluator")
    return list({spec.name: spec for spec in specs}.values())


def _each(domain: Domain, specs: list[EvaluatorSpec], n: int, rule: Callable[[EvaluatorSpec, Any, Batch], str]) -> str:
    """Try evaluators, each with its options and n labelled images, and return the remarks.

    Those without options or images are remarked on. Raises ``RuleSkipped`` if that is all of them.
    """
    tried, absent = [], []
    for spec in specs:
        try:
            options, batch = domain.options(spec), domain.labelled(spec, n)
        except RuleSkipped as reason:
            absent.append(f"{spec.name} was not tried: {reason}")
            continue
        tried.append(f"{spec.name}: {rule(spec, options, batch)}")
    if not tried:
        raise RuleSkipped("; ".join(absent))
    return "; ".join([*tried, *absent])


def _dry_run(domain: Domain, spec: EvaluatorSpec, options: Any, batch: Batch) -> None:
    pair = Batch(batch.image[:2], {name: values[:2] for name, values in batch.labels.items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try_evaluator(spec, options, domain.config, domain.catalog, pair)


def _resident(domain: Domain, batch: Batch) -> Resident:
    return Resident(from_unit(batch.image, domain.config.image.dtype), dict(batch.labels))


def _perfect(spec: EvaluatorSpec, pred: Any, batch: Batch) -> tuple[Any, dict[str, Tensor]]:
    """A prediction and the labels for which it is exact."""
    if spec.answer is not None:
        return pred, {**batch.labels, **spec.answer(pred, batch.labels)}
    truth = batch.labels[spec.requires[0].name]
    shapes = f"is {shape_of(pred)} for labels {spec.requires[0].name!r} {shape_of(truth)}"
    require(
        isinstance(pred, Tensor) and pred.shape == truth.shape,
        f"cannot be tried: the prediction {shapes}; give the evaluator an answer, which turns a prediction into labels",
    )
    return truth.to(pred.dtype), dict(batch.labels)


def _worst(spec: EvaluatorSpec, pred: Any, labels: Mapping[str, Tensor]) -> float:
    return float(spec.metrics(pred, labels)[spec.primary].abs().max())
