"""Rules of networks and feature transforms: those of the default recipe, and those that the plugin registers.

Networks are tried untrained, in float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from synthreal.core.refiner import refine
from synthreal.device import seeded_generator
from synthreal.spec import FeatureSpec, NetworkSpec, Part
from synthreal.testing.domain import Domain
from synthreal.testing.outcome import Absent
from synthreal.train.plugin_fault import reporting, require, shape_of

TOLERANCE = 1e-3
LARGER = 16  # px by which the largest images of a refiner are higher
Kind: TypeAlias = Part | Literal["psi"]
WITH_MAPS: tuple[Kind, ...] = ("discriminator", "psi")
FIT_ANY = "use convolutions and poolings, no layer with a fixed number of inputs"


def refiner_sizes(domain: Domain) -> str:
    """A refiner keeps the shape of images of any size, alone and in a batch, and its values are in [0, 1]."""
    _, height, width = domain.config.image.shape
    remarks: list[str] = []
    for name, refiner in _modules(domain, "refiner", remarks):
        for n, h, w in ((3, height, width), (1, height + 3, width + 5), (2, height + LARGER, width)):
            with reporting(f"refiner {name!r} on images of {h}x{w} px", FIT_ANY), torch.no_grad():
                x = _pictures(domain, n, h, w)
                y = refine(refiner, x, seeded_generator(0, x.device))
                remedy = "pad convolutions by kernel // 2 and use no strides, so that it keeps every size"
                require(y.shape == x.shape, f"returns {shape_of(y)} for images {shape_of(x)}; {remedy}")
                low, high = float(y.min()), float(y.max())
                valid = low >= -TOLERANCE and high <= 1 + TOLERANCE
                require(valid, f"returns values {low:.3g} to {high:.3g}; end with (tanh(x) + 1) / 2, or a clamp")
    return "; ".join(remarks)


def convolutional(domain: Domain) -> str:
    """What claims to be fully convolutional is.

    A discriminator with several logits for an image, and psi with several places, take images of any size, and their
    maps grow with them. A pixel of a refiner that states a ``receptive_field`` depends on no pixel further away.
    """
    _, height, width = domain.config.image.shape
    remarks: list[str] = []
    for kind in WITH_MAPS:
        for name, module in _modules(domain, kind, remarks):
            with reporting(f"{kind} {name!r}"), torch.no_grad():
                usual = module(_pictures(domain, 2, height, width))
                require(usual.ndim == 4 and len(usual) == 2, f"returns {shape_of(usual)}; return (B, D, h, w)")
                if kind == "discriminator":
                    require(usual.shape[1] == 1, f"returns {shape_of(usual)}; return logits (B, 1, h, w)")
            if usual.shape[-2:].numel() == 1:
                remarks.append(f"{name} gives one value per image, so larger images were not tried")
                continue
            remedy = f"{FIT_ANY}, or give one value for the whole image, (B, D, 1, 1)"
            with reporting(f"{kind} {name!r} on images of another size", remedy), torch.no_grad():
                larger = module(_pictures(domain, 2, 2 * height, 2 * width))
                grows = larger.shape[-2] > usual.shape[-2] and larger.shape[-1] > usual.shape[-1]
                require(grows, f"returns {shape_of(larger)}, no larger than {shape_of(usual)}; {remedy}")
    for name, refiner in _modules(domain, "refiner", remarks):
        if (field := getattr(refiner, "receptive_field", None)) is not None:
            _check_field(domain, name, refiner, int(field))
    return "; ".join(remarks)


def _check_field(domain: Domain, name: str, refiner: nn.Module, field: int) -> None:
    """Change a corner pixel: no pixel more than half a receptive field away may change."""
    side = field // 2 + 4
    x = _pictures(domain, 1, side, side)
    changed = x.clone()
    changed[..., 0, 0] = 1 - changed[..., 0, 0]
    with reporting(f"refiner {name!r}"), torch.no_grad():
        one, other = (refine(refiner, image, seeded_generator(0, x.device)) for image in (x, changed))
        difference = (one - other).abs()
        difference[..., : field // 2 + 1, : field // 2 + 1] = 0
        require(
            float(difference.max()) < 1e-5,
            f"says receptive_field = {field}, but a pixel depends on others further away; correct the attribute, or "
            "drop layers that see the whole image, such as instance normalisation",
        )


def _modules(domain: Domain, kind: Kind, remarks: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """Refiners, discriminators or psi to try, by name; those without options are remarked on."""
    specs: list[NetworkSpec | FeatureSpec]
    if kind == "psi":
        specs = [*(domain.catalog.feature(term.name) for term in domain.config.features), *domain.features]
    else:
        used = domain.catalog.network(kind, getattr(domain.config, kind).name)
        specs = [used, *(spec for spec in domain.networks if spec.part == kind)]
    for spec in {spec.name: spec for spec in specs}.values():
        if isinstance(spec, FeatureSpec) and spec.executes:  # runs code from a file, which needs the user's trust
            continue
        try:
            options = domain.options(spec)
        except Absent as reason:
            remarks.append(f"{spec.name} was not tried: {reason}")
            continue
        with reporting(f"{kind} {spec.name!r}: build"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = spec.build(options, domain.config.image).eval()
        yield spec.name, module


def _pictures(domain: Domain, n: int, height: int, width: int) -> Tensor:
    """Random images ``(n, C, height, width)`` in [0, 1]."""
    shape = (n, domain.config.image.channels, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))
