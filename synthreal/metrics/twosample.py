"""Classifier two-sample test: if a new classifier cannot separate two sets of images, they look alike.

Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthreal.data.seed import derived_generator
from synthreal.device import set_memory_format
from synthreal.metrics.inputs import check_images, parts
from synthreal.metrics.significance import binomial_p
from synthreal.results.schema import TwoSample

LEAST = 20
BATCH = 32
WIDTHS = (16, 32, 64, 64)
LEARNING_RATE = 3e-3


def two_sample_test(a: Tensor, b: Tensor, *, seed: int, steps: int = 300) -> TwoSample:
    """Train a small CNN to separate one half of ``a`` from one half of ``b``, and test it on the other halves.

    The larger set is cut to the size of the smaller, so that guessing is right half of the time. Sets of equal length
    are halved at the same rows, so that x is never on one side and R(x) on the other. Training takes five seconds for
    crops of 35x55 px on one core, four minutes at 224x224.

    A high p means that this classifier found no difference in so many images, not that there is none. Accuracy soon
    approaches 1, so compare refiners by :func:`synthreal.metrics.distances.realism`.

    Args:
        a: images ``(N, C, H, W)`` in [0, 1]; at least 20.
        b: images ``(M, C, H, W)`` in [0, 1]; at least 20.
        seed: of the halves, the weights and the mini-batches; it decides the result on the CPU.
        steps: training steps on mini-batches of 32 + 32 images.

    Raises:
        UserError: sets below 20 images, or images of different sizes.
    """
    check_images("two_sample_test", a, b, least=LEAST)
    size = min(len(a), len(b))
    order = torch.randperm(max(len(a), len(b)), generator=derived_generator("cpu", 0, "two sample", "halves", seed))
    rows = [order[order < len(images)][:size].to(images.device) for images in (a, b)]
    half = size // 2
    model = _train(a, b, rows[0][:half], rows[1][:half], seed=seed, steps=steps)
    correct = 0
    with torch.no_grad():
        for images, held_out, is_b in ((a, rows[0][half:], False), (b, rows[1][half:], True)):
            for indices in held_out.split(len(parts(images)[0])):
                correct += int(((model(images[indices]) > 0) == is_b).sum())
    total = 2 * (size - half)
    return TwoSample(accuracy=correct / total, correct=correct, total=total, p=binomial_p(correct, total))


def _train(a: Tensor, b: Tensor, rows_a: Tensor, rows_b: Tensor, *, seed: int, steps: int) -> nn.Module:
    """Train the classifier on the given rows of both sets; logit > 0 means ``b``."""
    order = derived_generator("cpu", 0, "two sample", "batches", seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _classifier(a.shape[1]).to(a.device)
    set_memory_format(model, "channels_last")  # 1.3 times as fast on the CPU
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    target = torch.arange(2, device=a.device).repeat_interleave(BATCH).float()
    with torch.enable_grad():
        for _ in range(steps):
            drawn = torch.randint(len(rows_a), (2, BATCH), generator=order).to(a.device)
            image = torch.cat([a[rows_a[drawn[0]]], b[rows_b[drawn[1]]]])
            loss = F.binary_cross_entropy_with_logits(model(image), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def _classifier(channels: int) -> nn.Sequential:
    """Map images ``(B, C, H, W)`` of any size to logits ``(B,)``."""
    layers: list[nn.Module] = [nn.BatchNorm2d(channels, affine=False)]
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1), nn.Flatten(0))
