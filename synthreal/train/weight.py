"""``loss.weight=auto``: lambda follows the displacement between x and R(x).

Every 10 game steps the displacement is measured on the same simulated images, and lambda is multiplied by the square
root of measured / wanted, at least by 0.9 and at most by 1.5. Lambda falls slowly, because R, which is pre-trained to
be the identity, and its average take many steps to use the freedom that a lower lambda gives.
"""

from __future__ import annotations

from torch import Tensor

from synthreal.config import LossConfig
from synthreal.core.game import Game
from synthreal.data.encoding import to_unit
from synthreal.data.source import Source
from synthreal.errors import UserError
from synthreal.metrics.displacement import displacement_field, is_measurable
from synthreal.train.preview import refine_preview
from synthreal.train.sources import random_images

EVERY = 10  # game steps
IMAGES = 32
FACTORS = (0.9, 1.5)  # least and largest, between two values of lambda
LEAST, MOST = 0.01, 1000.0
SEED = 1


class WeightControl:
    """Adapts lambda to the displacement of images ``(N, C, H, W)`` in [0, 1]."""

    def __init__(self, config: LossConfig, images: Tensor) -> None:
        if not is_measurable(images):
            raise UserError(
                "loss.weight=auto: the simulated images are too small (below 24x24 px) or too plain to measure a "
                "displacement; give a number"
            )
        self.wanted_px, self.images = config.drift_px, images

    def update(self, game: Game) -> None:
        """Set the game's ``drift_px`` and lambda. If no content is found again, lambda rises."""
        game.drift_px = displacement_field(self.images, refine_preview(game, self.images)).mean_px()
        ratio = FACTORS[1] if game.drift_px is None else (game.drift_px / self.wanted_px) ** 0.5
        factor = min(max(ratio, FACTORS[0]), FACTORS[1])
        game.weight = min(max(game.weight * factor, LEAST), MOST)


def open_weight_control(config: LossConfig, simulated: Source) -> WeightControl | None:
    """The control of a run, with random simulated images; None for a lambda that is a number."""
    if config.weight != "auto":
        return None
    return WeightControl(config, to_unit(random_images(simulated, IMAGES, seed=SEED).image))
