"""The downstream task: a CNN that estimates the gaze direction from a grey eye crop.

The default network is the paper's (arXiv 1612.07828): conv3-32, conv3-32, conv3-64, maxpool3 s2, conv3-80, conv3-192,
maxpool2 s2, FC9600, FC1000, FC3, trained with an l2 loss. Its convolutions are unpadded: only then does a 35x55 crop
end in 192x5x10 = 9600 features. The paper counts three fully connected layers, so FC9600 is taken as a layer (92 M
parameters). With ``hidden=[1000]``, 9600 is the number of flattened features instead. Smaller ``widths`` and ``hidden``
preserve the structure of the network at a fraction of its cost. Results after four to six epochs on 4000 images of the
camera simulator, on one shared AVX2 core without bf16:

- (16, 16, 32, 32, 64), (256,): 5.5 deg, 450 images/s in training
- (8, 8, 16, 32, 64), (128,): 5.4 deg, 900 images/s
- (8, 8, 8, 16, 32), (128,): 6.1 deg, 1800 images/s

The paper names no initialisation. He's initialisation is used because it preserves the signal of an image over eight
layers.

The only preprocessing maps the crop from [0, 1] to [-1, 1]. Standardising each image would close part of the gap
between simulated and real images inside the estimator, for every arm alike, and hide the effect of refining.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from synthreal import EvaluatorSpec, ImageSpec, Options, UserError
from synthreal_gaze.detector import locate_pupil
from synthreal_gaze.geometry import GAZE, angles_to_gaze, angular_error, gaze_to_angles


class EstimatorOptions(Options):
    """Size of the gaze network; the defaults are the paper's."""

    widths: tuple[int, int, int, int, int] = Field(
        default=(32, 32, 64, 80, 192), description="Channels of the five 3x3 convolutions."
    )
    hidden: tuple[int, ...] = Field(
        default=(9600, 1000), max_length=8, description="Units of the hidden fully connected layers; may be empty."
    )

    @field_validator("widths", "hidden")
    @classmethod
    def _bounded(cls, sizes: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        most = 1024 if info.field_name == "widths" else 10_000
        if not all(1 <= size <= most for size in sizes):
            raise ValueError(f"every layer has 1 to {most:,} units")
        return sizes


class GazeNet(nn.Module):
    """Five unpadded 3x3 convolutions, two max-poolings, fully connected layers: ``(B, C, H, W)`` to ``(B, 3)``."""

    def __init__(self, options: EstimatorOptions, image: ImageSpec) -> None:
        """Build the network for one image size. Raises ``UserError`` if it is too small."""
        super().__init__()
        height, width = (_output_side(side) for side in (image.height, image.width))
        if height < 1 or width < 1:
            raise UserError(
                f"the gaze estimator needs images of at least 19x19 px, not {image.height}x{image.width}; "
                "use larger ones, or evaluation.evaluator=none"
            )
        a, b, c, d, e = options.widths
        self.features = nn.Sequential(
            *_conv(image.channels, a),
            *_conv(a, b),
            *_conv(b, c),
            nn.MaxPool2d(3, stride=2),
            *_conv(c, d),
            *_conv(d, e),
            nn.MaxPool2d(2, stride=2),
            nn.Flatten(),
        )
        sizes = (e * height * width, *options.hidden)
        layers: list[nn.Module] = []
        for size, following in pairwise(sizes):
            layers += [nn.Linear(size, following), nn.ReLU(inplace=True)]
        last = nn.Linear(sizes[-1], 3)
        self.head = nn.Sequential(*layers, last)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.normal_(last.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        """Gaze vectors ``(B, 3)``, not normalised, of images ``(B, C, H, W)`` in [0, 1]."""
        pred: Tensor = self.head(self.features(2.0 * image - 1.0))
        return pred


def _conv(channels: int, maps: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, maps, kernel_size=3), nn.ReLU(inplace=True)


def _output_side(side: int) -> int:
    """The side of the last feature map for a side of the image."""
    return ((side - 6 - 3) // 2 + 1 - 4) // 2


def loss(pred: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """The paper's l2 loss: squared Euclidean distance to the unit gaze vector, mean over the batch, ``()``."""
    return (pred - labels["gaze"]).square().sum(-1).mean()


def metrics(pred: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Angle to the true gaze and whether it is within 7 and 13 degrees.

    Both thresholds are reported because the paper states 7 degrees for values that its own curve reaches at 13.

    Args:
        pred: ``(B, 3)``, any length.
        labels: ``gaze`` ``(B, 3)``.

    Returns:
        ``error_deg``, ``within_7deg`` and ``within_13deg``, each ``(B,)``; the latter two are 0 or 100.
    """
    error = angular_error(pred, labels["gaze"])
    return {
        "error_deg": error,
        "within_7deg": 100.0 * (error <= 7.0).to(error.dtype),
        "within_13deg": 100.0 * (error <= 13.0).to(error.dtype),
    }


def quantities(labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``pitch_deg`` and ``yaw_deg`` ``(B,)`` of the gaze ``(B, 3)``, any length."""
    pitch, yaw = torch.rad2deg(gaze_to_angles(labels["gaze"])).unbind(-1)
    return {"pitch_deg": pitch, "yaw_deg": yaw}


def assign(pred: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Unit gaze vectors ``(B, 3)`` of other angles."""
    return angles_to_gaze(torch.deg2rad(torch.stack((values["pitch_deg"], values["yaw_deg"]), dim=-1)))


EVALUATOR = EvaluatorSpec(
    name="gaze",
    requires=(GAZE,),
    options=EstimatorOptions,
    build=GazeNet,
    loss=loss,
    metrics=metrics,
    primary="error_deg",
    curve=("error_deg", tuple(float(degrees) for degrees in range(1, 26))),
    locate=locate_pupil,
    landmarks="pupil",
    quantities=quantities,
    assign=assign,
)
