"""Features in which images are compared: those of a random network, and an estimator's own.

Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020, section 4: for images
unlike ImageNet's, a network with random weights is the better judge, for a trained one sees what it was trained on.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthreal.errors import UserError
from synthreal.metrics.inputs import check_images, parts

WIDTHS = (16, 32, 64)
SIDE = 1 << len(WIDTHS)


@torch.no_grad()
def random_features(images: Tensor, *, seed: int) -> Tensor:
    """Features of a fixed random CNN, ``(N, 224)``: each a function of its image and the seed alone.

    Three 3x3 convolutions with He's random weights and random biases, each followed by ReLU and halving. After each,
    the mean and the deviation over places of every map are features: texture at three scales, not where things are.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least 8x8 px.
        seed: of the weights; compare features of equal seeds only.

    Raises:
        UserError: no images, or too small ones.
    """
    check_images("random_features", images, least=1, side=SIDE)
    generator = torch.Generator().manual_seed(seed)
    layers, channels = [], images.shape[1]
    for width in WIDTHS:
        weight = torch.randn(width, channels, 3, 3, generator=generator) * math.sqrt(2 / (9 * channels))
        bias = torch.randn(width, generator=generator) / 2
        layers.append((weight.to(images.device), bias.to(images.device)))
        channels = width
    found = []
    for part in parts(images, WIDTHS[0]):
        x, pooled = 4 * part - 2, []
        for weight, bias in layers:
            x = F.relu_(F.conv2d(x, weight, bias, padding=1))
            pooled += [x.mean((2, 3)), x.std((2, 3))]
            x = F.avg_pool2d(x, 2)
        found.append(torch.cat(pooled, dim=1))
    return torch.cat(found)


@torch.no_grad()
def estimator_features(model: nn.Module, images: Tensor) -> Tensor:
    """What an estimator knows of images before it answers, ``(N, D)``: the input of its last linear layer or conv2d.

    The last is the one that runs last. Maps are averaged over places, tokens over their number.

    Args:
        model: on the images' device; put into eval mode for the while.
        images: ``(N, C, H, W)`` in [0, 1].

    Raises:
        UserError: no images, or nothing of the kind in the model.
    """
    check_images("estimator_features", images, least=1)
    seen: list[Tensor] = []
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(partial(_record, seen)) for layer in layers]
    training = model.training
    found = []
    try:
        model.eval()
        for part in parts(images, WIDTHS[0]):
            seen.clear()
            model(part)
            if not seen or len(seen[-1]) != len(part):
                raise UserError(
                    "estimator_features: the model runs no nn.Linear or nn.Conv2d on whole images; "
                    "its features cannot be told"
                )
            found.append(seen[-1])
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return torch.cat(found)


def _record(seen: list[Tensor], layer: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Keep the layer's input ``(B, D, h, w)`` or ``(B, ..., D)`` as ``(B, D)``, in place of the layer's before."""
    x = given[0]
    seen[:] = [x.mean((2, 3)) if isinstance(layer, nn.Conv2d) else x.reshape(len(x), -1, x.shape[-1]).mean(1)]
