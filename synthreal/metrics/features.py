"""Image features: those of a network with random weights, and those of a trained estimator.

Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020, section 4: for images
unlike ImageNet, random weights judge better than trained ones, which respond to the training domain.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthreal.errors import UserError
from synthreal.metrics.inputs import check_images, parts

WIDTHS = (16, 32, 64)
SIDE = 1 << len(WIDTHS)


@torch.no_grad()
def random_features(images: Tensor, *, seed: int) -> Tensor:
    """Features ``(N, 224)`` of a fixed random CNN; each row depends on its image and the seed alone.

    The CNN has three 3x3 convolutions with He-initialised weights and random biases, each followed by ReLU and 2x2
    average pooling. The features are the mean and the deviation of every map before pooling: they describe texture at
    three scales, not positions.

    Args:
        images: ``(N, C, H, W)`` in [0, 1], at least 8x8 px.
        seed: of the weights; only features of equal seeds are comparable.

    Raises:
        UserError: no images, or images below 8x8 px.
    """
    check_images("random_features", images, least=1, side=SIDE)
    generator = torch.Generator().manual_seed(seed)
    layers, channels = [], images.shape[1]
    for width in WIDTHS:
        weight = torch.randn(width, channels, 3, 3, generator=generator) * math.sqrt(2 / (9 * channels))
        bias = torch.randn(width, generator=generator) / 2
        layers.append((weight.to(images.device), bias.to(images.device)))
        channels = width
    features = []
    for part in parts(images, WIDTHS[0]):
        x, pooled = 4 * part - 2, []
        for weight, bias in layers:
            x = F.relu_(F.conv2d(x, weight, bias, padding=1))
            pooled += [x.mean((2, 3)), x.std((2, 3))]
            x = F.avg_pool2d(x, 2)
        features.append(torch.cat(pooled, dim=1))
    return torch.cat(features)


@torch.no_grad()
def estimator_features(model: nn.Module, images: Tensor) -> Tensor:
    """The last hidden features ``(N, D)`` of an estimator: the input of the linear or conv2d layer that runs last.

    Maps are averaged over positions, tokens over their number. Raises ``UserError`` for a model without such a layer.
    """
    check_images("estimator_features", images, least=1)
    last: list[Tensor] = []  # the input of the layer that ran last

    def record(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0]
        last[:] = [x.mean((2, 3)) if isinstance(layer, nn.Conv2d) else x.reshape(len(x), -1, x.shape[-1]).mean(1)]

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    training, features = model.training, []
    try:
        model.eval()
        for part in parts(images, WIDTHS[0]):
            last.clear()
            model(part)
            if not last or len(last[0]) != len(part):
                raise UserError("estimator_features: the model applies no nn.Linear or nn.Conv2d to a whole batch")
            features += last
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return torch.cat(features)
