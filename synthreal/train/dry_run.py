"""A rehearsal before step 0: everything a plugin gave is tried on two images, so that its mistakes are told at once.

Without it a metric that broadcasts, a detector of the wrong shape or a misspelt label would show, if at all, after
hours of training. What goes wrong inside a plugin's function is told in one line with the place in its file.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from synthreal.config import RunConfig
from synthreal.core.game import Game
from synthreal.core.refiner import refine
from synthreal.device import seeded_generator, set_memory_format, uncompiled
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog, parse_options
from synthreal.spec import Batch, EvaluatorSpec

SLACK = 1e-3


def dry_run(game: Game, config: RunConfig, catalog: Catalog, batch: Batch) -> None:
    """Try networks, psi and the evaluator on the first two of some simulated images; nothing is changed by it.

    Args:
        game: of the run, on its device.
        config: resolved.
        catalog: where its evaluator is.
        batch: at least two simulated images with their labels.

    Raises:
        UserError: something of a plugin's fails or returns what it should not.
    """
    pair = Batch(batch.image[:2], {name: values[:2] for name, values in batch.labels.items()})
    device = pair.image.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        with uncompiled(game.refiner):
            _networks(game, config, pair.image)
        component = config.evaluation.evaluator
        if component is not None:
            spec = catalog.evaluator(component.name)
            _evaluator(spec, parse_options(component, spec.options, "evaluation.evaluator"), config, catalog, pair)


def _networks(game: Game, config: RunConfig, image: Tensor) -> None:
    patch = config.schedule.patch
    x = image if patch is None else image[..., :patch, :patch]
    training = [(network, network.training) for network in (game.refiner, game.discriminator)]
    for network, _ in training:
        network.eval()
    with _blaming(f"refiner {config.refiner.name!r}"), torch.no_grad():
        y = refine(game.refiner, x, seeded_generator(0, x.device))
        _expect(y.shape == x.shape, f"returns {_shape(y)} for images {_shape(x)}; return the same shape")
        inside = bool((y >= -SLACK).all() and (y <= 1 + SLACK).all())
        _expect(inside, f"returns values {float(y.min()):.3g} to {float(y.max()):.3g}; return images in [0, 1]")
    with _blaming(f"discriminator {config.discriminator.name!r}"), torch.no_grad():
        logits = game.discriminator(x)
        proper = logits.ndim == 4 and logits.shape[:2] == (len(x), 1)
        _expect(proper, f"returns {_shape(logits)} for {_shape(x)}; return logits (B, 1, h, w), > 0 for refined")
    for network, mode in training:
        network.train(mode)
    for term, (psi, _) in zip(config.features, game.features, strict=True):
        with _blaming(f"psi {term.name!r}"):
            features = psi(x.clone().requires_grad_())
            proper = features.ndim == 4 and len(features) == len(x)
            _expect(proper, f"returns {_shape(features)} for {_shape(x)}; return (B, D, h, w)")
            _expect(features.requires_grad, "returns nothing that gradients flow through; keep it differentiable")


def _evaluator(spec: EvaluatorSpec, options: Any, config: RunConfig, catalog: Catalog, pair: Batch) -> None:
    image = config.image
    assert image is not None, "resolve() sets the image"
    who = f"evaluator {spec.name!r}: "
    with _blaming(who + "build"):
        model = spec.build(options, image).to(pair.image.device)
        set_memory_format(model, config.runtime.layout)
    augmented = pair
    if spec.augment is not None:
        with _blaming(who + "augment"):
            augmented = spec.augment(pair, seeded_generator(0, pair.image.device))
            _expect(isinstance(augmented, Batch), f"returns a {type(augmented).__name__}; return a Batch")
    with _blaming(who + "loss"):
        loss = spec.loss(model(augmented.image), augmented.labels)
        proper = isinstance(loss, Tensor) and loss.shape == () and loss.requires_grad
        _expect(proper, f"returns {_shape(loss)}; return one differentiable number, a tensor of shape ()")
        loss.backward()
    model.eval()
    with _blaming(who + "metrics"), torch.no_grad():
        pred = model(pair.image)
        one = Batch(pair.image[:1], {name: values[:1] for name, values in pair.labels.items()})
        found, single = spec.metrics(pred, pair.labels), spec.metrics(model(one.image), one.labels)
        _metrics(found, single)
        named = [spec.primary, *([] if spec.curve is None else spec.curve[:1])]
        for name in named:
            _expect(name in found, f"returns {', '.join(found)}, but primary or curve is {name!r}; name one of them")
    if spec.curve is not None:
        with _blaming(who + "curve"):
            name, thresholds = spec.curve
            _expect(len([float(value) for value in thresholds]) > 0, "has no thresholds")
    if spec.constant is not None:
        with _blaming(who + "constant"), torch.no_grad():
            spec.metrics(spec.constant(pair.labels), pair.labels)
    if spec.answer is not None:
        with _blaming(who + "answer"), torch.no_grad():
            read = spec.answer(pred, pair.labels)
            _answer(read, pair.labels)
            spec.metrics(pred, {**pair.labels, **read})
    if spec.locate is not None:
        with _blaming(who + "locate"), torch.no_grad():
            places = spec.locate(pair.image)
            proper = places.ndim == 3 and (len(places), places.shape[-1]) == (2, 2)
            _expect(proper, f"returns {_shape(places)} for 2 images; return (B, K, 2) px, x and y")
        with _blaming(who + "landmarks"):
            _landmarks(spec, catalog, pair, places)


def _metrics(found: Mapping[str, Tensor], single: Mapping[str, Tensor]) -> None:
    _expect(isinstance(found, Mapping) and len(found) > 0, "returns no metrics; return {name: (B,)}")
    for name, values in found.items():
        alone = single[name]
        proper = isinstance(values, Tensor) and values.ndim in (1, 2) and len(values) == 2
        proper = proper and values.shape[1:] == alone.shape[1:]  # a (B, B) of careless broadcasting changes its K
        _expect(
            proper,
            f"gives {name!r} as {_shape(values)} for 2 images and {_shape(alone)} for one; return (B,), or (B, K) for "
            "K answers an image",
        )


def _answer(read: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
    _expect(isinstance(read, Mapping) and len(read) > 0, "returns no labels; return {name: (B, *shape)}")
    for name, values in read.items():
        _expect(name in labels, f"gives {name!r}, but the images have {', '.join(labels)}; name one of them")
        alike = values.shape == labels[name].shape
        _expect(alike, f"gives {name!r} as {_shape(values)}, the label is {_shape(labels[name])}; make them alike")


def _landmarks(spec: EvaluatorSpec, catalog: Catalog, pair: Batch, places: Tensor) -> None:
    if spec.landmarks is None:
        return
    known = {label.name for entry in catalog.datasets.values() for label in entry.spec.labels}
    _expect(spec.landmarks in known, f"is {spec.landmarks!r}, which no data set carries; name a label")
    if spec.landmarks in pair.labels:
        truth = pair.labels[spec.landmarks]
        _expect(truth.shape == places.shape, f"is {_shape(truth)}, but locate gives {_shape(places)}; make them alike")


class _Improper(Exception):
    """What a plugin's function returned is not what its contract says."""


def _expect(proper: bool, complaint: str) -> None:
    if not proper:
        raise _Improper(complaint)


@contextmanager
def _blaming(who: str) -> Iterator[None]:
    """Turn whatever happens inside into one line that names the part of the plugin, and the place in its file."""
    try:
        yield
    except UserError:
        raise
    except _Improper as complaint:
        raise UserError(f"{who} {complaint}") from None
    except Exception as error:  # a plugin's own code may raise anything
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{who} fails: {type(error).__name__}: {said} ({place.filename}:{place.lineno})") from error


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
