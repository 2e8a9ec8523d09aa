"""Rules of data sets: what simulators render and readers read.

Data sets of files are tried on their first samples where the files are present, and named as not tried where not.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from synthreal.errors import UserError
from synthreal.spec import Batch, DatasetSpec, Sample
from synthreal.testing.domain import Domain, shown
from synthreal.testing.outcome import Absent, RuleSkipped

COUNT = 8
TOLERANCE = 1e-3  # of the range [0, 1]
FEW, MANY = 2, 66  # a loop over the parts of images can be longer in the larger batch, but not by 64


def images(domain: Domain) -> str:
    """Images have the declared shape and dtype, values in [0, 1], and are not all alike."""

    def rendered(spec: DatasetSpec) -> None:
        image, declared = domain.render(spec, COUNT, seed=0).image, domain.image(spec)
        if image.shape != (COUNT, *declared.shape):
            found = f"{tuple(image.shape)} for {COUNT} images"
            raise UserError(
                f"{shown(spec)}: render returns {found}; return {(COUNT, *declared.shape)}, or correct its ImageSpec"
            )
        if image.dtype != torch.float32:
            raise UserError(f"{shown(spec)}: render returns {image.dtype} images; return float32 in [0, 1]")
        low, high = float(image.min()), float(image.max())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise UserError(
                f"{shown(spec)}: render returns values {low:.4g} to {high:.4g}; scale images to [0, 1], or clamp them"
            )
        if bool((image == image[:1]).all()):
            raise UserError(f"{shown(spec)}: {COUNT} rendered images are equal; draw each from the generator")

    def read(spec: DatasetSpec) -> None:
        validator, samples = domain.validator(spec), domain.samples(spec)
        for index, sample in enumerate(samples):
            validator.check_images(np.asarray(sample.image)[None], index)
        if len(samples) > 1 and all(np.array_equal(sample.image, samples[0].image) for sample in samples):
            raise UserError(f"{shown(spec)}: {len(samples)} samples have equal images; give each an array of its own")

    return _each(domain, rendered, read)


def labels(domain: Domain) -> str:
    """Labels are there, finite and of the declared shape."""

    def rendered(spec: DatasetSpec) -> None:
        batch = domain.render(spec, COUNT, seed=0)
        for label in spec.available_labels:
            values, shape, which = batch.labels.get(label.name), (COUNT, *label.shape), f"label {label.name!r}"
            if values is None:
                raise UserError(f"{shown(spec)}: render returns no {which}; return it, or drop its LabelSpec")
            if values.shape != shape:
                raise UserError(
                    f"{shown(spec)}: {which} is {tuple(values.shape)}, but its LabelSpec says {shape}; make them equal"
                )
            if not torch.isfinite(values).all():
                raise UserError(f"{shown(spec)}: {which} has a NaN or an infinite value; skip such images")

    def read(spec: DatasetSpec) -> None:
        validator = domain.validator(spec)
        for index, sample in enumerate(domain.samples(spec)):
            if spec.role != "real":
                labels = {name: np.asarray(values)[None] for name, values in sample.labels.items()}
                validator.check_labels(labels, 1, index)

    return _each(domain, rendered, read)


def reproducible(domain: Domain) -> str:
    """The generator's state alone decides what is rendered; a reader yields the same samples every time."""

    def rendered(spec: DatasetSpec) -> None:
        with _global_seed(0):
            one, before = domain.render(spec, COUNT, seed=0), torch.get_rng_state()
        with _global_seed(1):
            other = domain.render(spec, COUNT, seed=0)
        if not _same(one, other):
            raise UserError(
                f"{shown(spec)}: two renders from one seed differ; draw every random number with generator=generator, "
                "and keep no state between calls"
            )
        with _global_seed(0):
            if not torch.get_rng_state().equal(before):
                raise UserError(f"{shown(spec)}: render draws from torch's global generator; use generator=generator")
        if one.image.equal(domain.render(spec, COUNT, seed=1).image):
            raise UserError(f"{shown(spec)}: two seeds give the same images; draw them from the generator")

    def read(spec: DatasetSpec) -> None:
        first, second = domain.samples(spec), domain.samples(spec)
        if len(first) != len(second) or not all(map(_same, first, second)):
            raise UserError(f"{shown(spec)}: yields other samples when it is read again; sort the files")

    return _each(domain, rendered, read)


def batched(domain: Domain) -> str:
    """A simulator renders any number of images, all at once and not in a loop over images."""

    def rendered(spec: DatasetSpec) -> None:
        single = domain.render(spec, 1, seed=0)
        if len(single.image) != 1:
            raise UserError(f"{shown(spec)}: render returns {len(single.image)} images for n=1; return n images")
        few, many = (_executions(partial(domain.render, spec, n, seed=0)) for n in (FEW, MANY))
        for line, times in many.items():  # in the order of execution: a loop before what it calls
            if times - few[line] >= MANY - FEW:
                raise UserError(
                    f"{shown(spec)}: render loops over images: {line} is executed {few[line]} times for {FEW} of them, "
                    f"{times} times for {MANY}; draw all of them at once with tensors (n, ...)"
                )

    return _each(domain, rendered)


def devices(domain: Domain) -> str:
    """A simulator makes every tensor on the generator's device, so that it also runs on a GPU.

    Without a GPU, tensors that are made without a device come from the device ``meta``, with which nothing can be
    computed. A tensor that is made on the CPU and then moved is refused as well; one that was cached, or comes from
    ``torch.from_numpy``, is not seen.
    """
    on_gpu = torch.cuda.is_available()

    def rendered(spec: DatasetSpec) -> None:
        remedy = "give device=generator.device to every function that makes a tensor"
        domain.render(spec, FEW, seed=0)  # fills caches, in which a tensor on meta would stay
        for device, default in (("cpu", "meta"), ("cuda", "cpu"))[: 1 + on_gpu]:
            try:
                with torch.device(default):
                    batch = domain.render(spec, FEW, seed=0, device=device)
            except UserError as error:
                raise UserError(f"{error}; {remedy}") from None
            for name, values in {"image": batch.image, **batch.labels}.items():
                if values.device.type != device:
                    raise UserError(f"{shown(spec)}: {name} is not on the generator's device; {remedy}")

    remark = _each(domain, rendered)
    return remark if on_gpu else "; ".join(filter(None, [remark, "no GPU was there to try it on"]))


def _each(
    domain: Domain, rendered: Callable[[DatasetSpec], None], read: Callable[[DatasetSpec], None] | None = None
) -> str:
    """Try every data set; returns a remark that names those that are absent. Raises ``RuleSkipped`` if all are."""
    tried = 0
    absent: dict[str, str] = {}
    for spec in domain.datasets:
        rule = rendered if spec.render is not None else read
        if rule is None:
            continue
        try:
            rule(spec)
            tried += 1
        except Absent as reason:
            absent.setdefault(spec.name, str(reason))
    remark = "; ".join(f"{name} was not tried: {reason}" for name, reason in absent.items())
    if not tried:
        raise RuleSkipped(remark or "the plugin has no such data set")
    return remark


def _same(one: Batch | Sample, other: Batch | Sample) -> bool:
    """Whether images and labels are equal; a NaN equals a NaN, because other rules are about values."""
    pairs = [(one.image, other.image), *((values, other.labels[name]) for name, values in one.labels.items())]
    return all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


def _executions(function: Callable[[], object]) -> Counter[str]:
    """How often a function executes each line of Python outside torch in this thread, "file:line" -> times."""
    times: Counter[str] = Counter()
    torch_files = f"{Path(torch.__file__).parent}{os.sep}"

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename.startswith(torch_files):
            return None
        times[f"{frame.f_code.co_filename}:{frame.f_lineno}"] += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return times


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python in the block, and restore their states."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the generator that plugins must not use
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
