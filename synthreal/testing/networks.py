"""Rules of networks and feature transforms: those of the default recipe, and those that the plugin registers.

Networks are tried untrained, in float32 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from synthreal.core.refiner import refine
from synthreal.device import seeded_generator
from synthreal.spec import Part
from synthreal.testing.domain import Domain
from synthreal.train.plugin_fault import reporting, require, shape_of

TOLERANCE = 1e-3
LARGER = 16  # px that images of another size have more on each side
FIT_ANY = "use convolutions and poolings, no layer with a fixed number of inputs"


def refiner_sizes(domain: Domain) -> None:
    """A refiner keeps the shape of images of any size, alone and in a batch, and its values are in [0, 1]."""
    _, height, width = domain.config.image.shape
    for name, refiner in _modules(domain, "refiner"):
        for n, h, w in ((3, height, width), (1, height + 3, width + 5), (2, height + LARGER, width)):
            with reporting(f"refiner {name!r} on images of {h}x{w} px", FIT_ANY), torch.no_grad():
                x = _pictures(domain, n, h, w)
                y = refine(refiner, x, seeded_generator(0, x.device))
                remedy = "pad convolutions by kernel // 2 and use no strides, so that it keeps every size"
                require(y.shape == x.shape, f"returns {shape_of(y)} for images {shape_of(x)}; {remedy}")
                low, high = float(y.min()), float(y.max())
                valid = low >= -TOLERANCE and high <= 1 + TOLERANCE
                require(valid, f"returns values {low:.3g} to {high:.3g}; end with (tanh(x) + 1) / 2, or a clamp")


def convolutional(domain: Domain) -> str:
    """What claims to be fully convolutional is.

    A discriminator with several logits for an image, and psi with several places, take images of any size, and their
    maps grow with them. A pixel of a refiner that states a ``receptive_field`` depends on no pixel further away.
    """
    _, height, width = domain.config.image.shape
    with_one = []
    for kind, name, module in _maps(domain):
        with reporting(f"{kind} {name!r}"), torch.no_grad():
            usual = module(_pictures(domain, 2, height, width))
            require(usual.ndim == 4 and len(usual) == 2, f"returns {shape_of(usual)}; return (B, D, h, w)")
            if kind == "discriminator":
                require(usual.shape[1] == 1, f"returns {shape_of(usual)}; return logits (B, 1, h, w)")
        if usual.shape[-2:].numel() == 1:
            with_one.append(name)
            continue
        remedy = f"{FIT_ANY}, or give one value for the whole image, (B, D, 1, 1)"
        with reporting(f"{kind} {name!r} on images of another size", remedy), torch.no_grad():
            larger = module(_pictures(domain, 2, height + LARGER, width + LARGER))
            grows = larger.shape[-2] > usual.shape[-2] and larger.shape[-1] > usual.shape[-1]
            require(grows, f"returns {shape_of(larger)}, no larger than {shape_of(usual)}; {remedy}")
    for name, refiner in _modules(domain, "refiner"):
        if (field := getattr(refiner, "receptive_field", None)) is not None:
            _check_field(domain, name, refiner, int(field))
    return f"{', '.join(with_one)}: one value for an image, so nothing is claimed" if with_one else ""


def _check_field(domain: Domain, name: str, refiner: nn.Module, field: int) -> None:
    side = field // 2 + 4
    x = _pictures(domain, 1, side, side)
    changed = x.clone()
    changed[..., 0, 0] = 1 - changed[..., 0, 0]
    with reporting(f"refiner {name!r}"), torch.no_grad():
        one, other = (refine(refiner, image, seeded_generator(0, x.device)) for image in (x, changed))
        far = (one - other).abs()[..., field // 2 + 1 :, :].max()
        require(
            float(far) < 1e-5,
            f"says receptive_field = {field}, but a pixel depends on others further away; correct the attribute, or "
            "drop layers that see the whole image, such as instance normalisation",
        )


def _modules(domain: Domain, part: Part) -> Iterator[tuple[str, nn.Module]]:
    """The networks of a part to try, by name."""
    used = getattr(domain.config, part).name
    own = [spec.name for spec in domain.networks if spec.part == part]
    for name in dict.fromkeys([used, *own]):
        spec = domain.catalog.network(part, name)
        options = domain.component_options(spec)
        with reporting(f"{part} {name!r}: build"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = spec.build(options, domain.config.image).eval()
        yield name, module


def _maps(domain: Domain) -> Iterator[tuple[str, str, nn.Module]]:
    """Discriminators and psi to try, with kind and name."""
    for name, module in _modules(domain, "discriminator"):
        yield "discriminator", name, module
    used = [term.name for term in domain.config.features]
    for name in dict.fromkeys([*used, *(spec.name for spec in domain.features)]):
        spec = domain.catalog.feature(name)
        if spec.executes:  # runs code from a file, which needs the user's trust
            continue
        options = domain.component_options(spec)
        with reporting(f"psi {name!r}: build"):
            module = spec.build(options, domain.config.image).eval()
        yield "psi", name, module


def _pictures(domain: Domain, n: int, height: int, width: int) -> Tensor:
    """Random images ``(n, C, height, width)`` in [0, 1]."""
    shape = (n, domain.config.image.channels, height, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))
