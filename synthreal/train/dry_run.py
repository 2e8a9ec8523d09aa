"""The dry run before step 0: every function of a plugin is tried on two images, so that mistakes are reported at once.

Otherwise a metric that broadcasts by mistake or a detector with a wrong shape would only show after hours of training.
An exception in a plugin's function is reported in one line with its place in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from synthreal.config import ResolvedConfig
from synthreal.core.game import Game
from synthreal.core.refiner import refine
from synthreal.device import seeded_generator, set_memory_format, uncompiled
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.spec import Batch, EvaluatorSpec
from synthreal.train.plugin_fault import reporting, require, shape_of

TOLERANCE = 1e-3


def dry_run(game: Game, config: ResolvedConfig, catalog: Catalog, batch: Batch) -> None:
    """Try networks, psi and the evaluator on the first two images of a batch, or twice on its only one.

    There are no side effects. Raises ``UserError`` if a function of a plugin fails or returns a wrong value.
    """
    rows = torch.arange(2) % len(batch.image)
    pair = Batch(batch.image[rows], {name: values[rows] for name, values in batch.labels.items()})
    device = pair.image.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        with uncompiled(game.refiner):
            _try_networks(game, config, pair.image)
        component = config.evaluation.evaluator
        if component is not None:
            spec = catalog.evaluator(component.name)
            try_evaluator(spec, parse_options(component, spec.options, "evaluation.evaluator"), config, catalog, pair)


def _try_networks(game: Game, config: ResolvedConfig, image: Tensor) -> None:
    patch = config.schedule.patch
    x = image if patch is None else image[..., :patch, :patch]
    modes = [(network, network.training) for network in (game.refiner, game.discriminator)]
    for network, _ in modes:
        network.eval()
    with reporting(f"refiner {config.refiner.name!r}"), torch.no_grad():
        y = refine(game.refiner, x, seeded_generator(0, x.device))
        require(y.shape == x.shape, f"returns {shape_of(y)} for images {shape_of(x)}; return the same shape")
        in_range = bool((y >= -TOLERANCE).all() and (y <= 1 + TOLERANCE).all())
        require(in_range, f"returns values {float(y.min()):.3g} to {float(y.max()):.3g}; return images in [0, 1]")
    with reporting(f"discriminator {config.discriminator.name!r}"), torch.no_grad():
        logits = game.discriminator(x)
        valid = logits.ndim == 4 and logits.shape[:2] == (len(x), 1)
        require(valid, f"returns {shape_of(logits)} for {shape_of(x)}; return logits (B, 1, h, w), > 0 for refined")
    for network, mode in modes:
        network.train(mode)
    for term, (psi, _) in zip(config.features, game.features, strict=True):
        with reporting(f"psi {term.name!r}"):
            features = psi(x.clone().requires_grad_())
            valid = features.ndim == 4 and len(features) == len(x)
            require(valid, f"returns {shape_of(features)} for {shape_of(x)}; return (B, D, h, w)")
            require(features.requires_grad, "returns a tensor without gradient; keep it differentiable")


def try_evaluator(spec: EvaluatorSpec, options: Any, config: ResolvedConfig, catalog: Catalog, pair: Batch) -> None:
    """Try an evaluator on two images on one device. Raises ``UserError`` if it fails or returns a wrong value."""
    name = f"evaluator {spec.name!r}: "
    with reporting(name + "build"):
        model = spec.build(options, config.image).to(pair.image.device)
        set_memory_format(model, config.runtime.layout)
    augmented = pair
    if spec.augment is not None:
        with reporting(name + "augment"):
            augmented = spec.augment(pair, seeded_generator(0, pair.image.device))
            require(isinstance(augmented, Batch), f"returns a {type(augmented).__name__}; return a Batch")
    with reporting(name + "loss"):
        loss = spec.loss(model(augmented.image), augmented.labels)
        valid = isinstance(loss, Tensor) and loss.shape == () and loss.requires_grad
        require(valid, f"returns {shape_of(loss)}; return one differentiable number, a tensor of shape ()")
        loss.backward()
    model.eval()
    with reporting(name + "metrics"), torch.no_grad():
        pred = model(pair.image)
        one = Batch(pair.image[:1], {label: values[:1] for label, values in pair.labels.items()})
        metrics = spec.metrics(pred, pair.labels)
        _check_metrics(metrics, spec.metrics(model(one.image), one.labels))
        for metric in [spec.primary, *([] if spec.curve is None else spec.curve[:1])]:
            require(
                metric in metrics, f"returns {', '.join(metrics)}, but primary or curve is {metric!r}; name one of them"
            )
    if spec.curve is not None:
        with reporting(name + "curve"):
            require(len([float(value) for value in spec.curve[1]]) > 0, "has no thresholds")
    if spec.constant is not None:
        with reporting(name + "constant"), torch.no_grad():
            spec.metrics(spec.constant(pair.labels), pair.labels)
    if spec.answer is not None:
        with reporting(name + "answer"), torch.no_grad():
            answer = spec.answer(pred, pair.labels)
            _check_answer(answer, pair.labels)
            spec.metrics(pred, {**pair.labels, **answer})
    if spec.quantities is not None and spec.assign is not None:
        with reporting(name + "quantities"), torch.no_grad():
            quantities = spec.quantities(pair.labels)
            _check_quantities(quantities)
        with reporting(name + "assign"), torch.no_grad():
            spec.metrics(spec.assign(pred, quantities), pair.labels)
    if spec.locate is not None:
        with reporting(name + "locate"), torch.no_grad():
            places = spec.locate(pair.image)
            valid = places.ndim == 3 and (len(places), places.shape[-1]) == (2, 2)
            require(valid, f"returns {shape_of(places)} for 2 images; return (B, K, 2) px, x and y")
        with reporting(name + "landmarks"):
            _check_landmarks(spec, catalog, pair, places)


def _check_metrics(metrics: Mapping[str, Tensor], single: Mapping[str, Tensor]) -> None:
    require(isinstance(metrics, Mapping) and len(metrics) > 0, "returns no metrics; return {name: (B,)}")
    for name, values in metrics.items():
        valid = isinstance(values, Tensor) and values.ndim in (1, 2) and len(values) == 2
        valid = valid and values.shape[1:] == single[name].shape[1:]  # an accidental (B, B) depends on the batch size
        require(
            valid,
            f"gives {name!r} as {shape_of(values)} for 2 images and {shape_of(single[name])} for one; return (B,), or "
            "(B, K) for K answers an image",
        )


def _check_answer(answer: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
    require(isinstance(answer, Mapping) and len(answer) > 0, "returns no labels; return {name: (B, *shape)}")
    for name, values in answer.items():
        require(name in labels, f"gives {name!r}, but the images have {', '.join(labels)}; name one of them")
        equal = values.shape == labels[name].shape
        require(equal, f"gives {name!r} as {shape_of(values)}, the label is {shape_of(labels[name])}; make them equal")


def _check_quantities(quantities: Mapping[str, Tensor]) -> None:
    require(isinstance(quantities, Mapping) and len(quantities) > 0, "returns none; return {name: (B, *shape)}")
    for name, values in quantities.items():
        valid = isinstance(values, Tensor) and values.ndim >= 1 and len(values) == 2 and values.is_floating_point()
        require(valid, f"gives {name!r} as {shape_of(values)} for 2 images; return floating-point (B, *shape)")


def _check_landmarks(spec: EvaluatorSpec, catalog: Catalog, pair: Batch, places: Tensor) -> None:
    if spec.landmarks is None:
        return
    known = {label.name for entry in catalog.datasets.values() for label in entry.spec.labels}
    require(spec.landmarks in known, f"is {spec.landmarks!r}, which is no label of any data set; name a label")
    if spec.landmarks in pair.labels:
        truth = pair.labels[spec.landmarks]
        require(
            truth.shape == places.shape, f"is {shape_of(truth)}, but locate gives {shape_of(places)}; make them equal"
        )
