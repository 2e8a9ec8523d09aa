"""The images of a study: real ones, and refined or simulated ones in the same form.

At least twice as many images of each kind as a rater sees are chosen at random and refined when the study starts, so
that raters need not wait. Both kinds have the stored dtype of the domain and are written to PNG by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from synthreal.data.encoding import to_unit
from synthreal.data.resident import Resident
from synthreal.device import configure_process, resolve_device
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.hooks.resolve import resolve
from synthreal.inference.indexed import BLOCK
from synthreal.inference.pretrained import read_config
from synthreal.inference.resident import refine_resident
from synthreal.inference.transform import Refine
from synthreal.spec import ImageSpec, Role
from synthreal.train.contact_sheet import png
from synthreal.train.sources import open_data, random_images
from synthreal.turing.answers import Against

EXAMPLES = 10


@dataclass(frozen=True)
class ImagePool:
    """The images that a study draws from: ``(N, C, H, W)`` in stored dtype, in random order, on the CPU."""

    real: Tensor
    synthetic: Tensor
    image: ImageSpec

    def png(self, real: bool, row: int) -> bytes:
        """Image ``row`` of a kind as a PNG file."""
        return png(to_unit((self.real if real else self.synthetic)[row]), colormap=self.image.colormap)


def choose_images(
    run: Path,
    *,
    against: Against,
    images: int,
    seed: int,
    device: str,
    on_refine: Callable[[int], None],
    trust: bool = False,
) -> ImagePool:
    """Choose the images of a study in which a rater judges ``images`` of each kind; 10 more are examples.

    ``on_refine`` is called with the number of images before they are refined, which may take a minute. ``trust`` runs
    the code of plugins that the run names and that are neither installed nor loaded. Raises ``UserError`` when ``run``
    is not a run directory, or its data is unreadable or has too few images.
    """
    config = read_config(run)
    catalog = Catalog.of_run(config, run, trust=trust)
    config = resolve(config, catalog)
    place = resolve_device(device)
    configure_process(config.runtime)
    transform = Refine.load(run, device=device) if against == "refined" else None
    count = BLOCK * -(-2 * (images + EXAMPLES) // BLOCK)
    chosen: dict[Role, Resident] = {}
    for role in ("real", "simulated"):
        chosen[role] = random_images(open_data(config, catalog, role, device=place, run_dir=run), count, seed=seed)
        if (n := len(chosen[role])) < images + EXAMPLES:
            remedy = f"lower --images to {n - EXAMPLES}, or " if n > EXAMPLES else ""
            raise UserError(
                f"{run}: data.{role} has {n} images, --images {images} needs {images + EXAMPLES} of them "
                f"({EXAMPLES} are examples); {remedy}fit a run with more"
            )
    synthetic = chosen["simulated"]
    if transform is not None:
        on_refine(len(synthetic))
        synthetic = refine_resident(transform, synthetic, config.image.dtype, seed=seed)
    return ImagePool(chosen["real"].image.cpu(), synthetic.image.cpu(), config.image)
