"""``loss.weight=auto``: lambda follows the displacement between x and R(x).

Every 10 game steps the displacement is measured on the same simulated images, and lambda is multiplied by the square
root of its 95th percentile / drift_px, at least by 0.6 and at most by 1.5; it stays between 1 and 1000.

How this was chosen (2026-11-30; 200 game steps, validation split, one seed unless stated; ``benchmarks/weights.py``):

- The 95th percentile. Fixed lambda 8 moved content by 0.08 px on average on gaze and 0.09 on dials, 0.5 by 0.73 (56 %
  of the blocks unmatched, error 7.5 deg instead of 6.9) and 0.21. So a mean of 0.5 px is no budget: on dials it was
  never reached after the first steps. With a mean of 0.2, whose 95th percentile is 0.5, gaze ended at lambda 3.4 from
  0.5 and 3.9 from 32, with errors of 7.0 and 7.1 deg.
- The least lambda, 1. It was 0.01, and where nothing reaches the budget lambda fell until the end (dials, 400 steps: 8
  to 0.14), so that its last value was a matter of the start and of the length.
- The factors. At least 0.9 needs 300 steps from 32 to 1. With 0.6, dials needed 160, and gaze 120, whose displacement
  then exceeded the budget by up to 0.14 px, while lambda rose again from 1.
- R's own weights. Their average still holds the untrained R when the game begins, and reads 0.56 px at its 10th step
  and 0.08 at its 90th (dials).
- What it gives (2026-12-01, ``benchmarks/weights.py``, errors from starts 0.5, 2, 8 and 32, in deg):

  - dials, two seeds: auto 18.0, 10.4, 25.0, 25.3 and 33.2, 28.7, 22.2, 32.8; fixed 24.7, 16.8, 26.4, 34.0 and 32.6,
    28.3, 43.0, 40.0. The mean error of the starts spans 9.5 with auto, less than the two seeds differ by (10.9), and
    14.4 with fixed lambdas, more than that (10.5). Lambda ends at 1.0 to 2.4.
  - gaze, two seeds (the second in bfloat16 on another machine): auto 7.1, 7.0, 6.8, 7.1 and 7.5, 7.5, 7.4, 7.6; fixed
    7.5, 6.9, 6.9, 7.4 and 7.0, 7.2, 7.1, 7.7. The mean error of the starts spans 0.28 with auto, less than the two seeds
    differ by (0.49), and 0.52 with fixed lambdas, more than that (0.32). Lambda ends at 1.0 to 3.3. So auto spares the
    choice; it is no better than the best fixed lambda.
"""

from __future__ import annotations

from dataclasses import replace

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
FACTORS = (0.6, 1.5)  # least and largest, between two values of lambda
LEAST, MOST = 1.0, 1000.0
SEED = 1


class WeightControl:
    """Adapts lambda to the displacement of images ``(N, C, H, W)`` in [0, 1]."""

    def __init__(self, config: LossConfig, images: Tensor) -> None:
        if not is_measurable(images):
            raise UserError(
                "loss.weight=auto: the simulated images are too small (below 24x24 px) or too plain to measure a "
                "displacement; give a number"
            )
        self.largest_px, self.images = config.drift_px, images

    def update(self, game: Game) -> None:
        """Set the game's ``drift_px`` and lambda. If no content is found again, lambda rises."""
        refined = refine_preview(replace(game, average=None), self.images)
        game.drift_px = displacement_field(self.images, refined).p95_px()
        ratio = FACTORS[1] if game.drift_px is None else (game.drift_px / self.largest_px) ** 0.5
        factor = min(max(ratio, FACTORS[0]), FACTORS[1])
        game.weight = min(max(game.weight * factor, LEAST), MOST)


def open_weight_control(config: LossConfig, simulated: Source) -> WeightControl | None:
    """The control of a run, with random simulated images; None for a lambda that is a number."""
    if config.weight != "auto":
        return None
    return WeightControl(config, to_unit(random_images(simulated, IMAGES, seed=SEED).image))
