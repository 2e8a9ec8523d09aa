"""The trained refiner inside anybody's loop, and the two files it travels as: refiner.safetensors and config.toml.

Nothing is unpickled on loading, and no plugin is needed when the refiner is the core's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor, nn

from synthreal.atomic import write_text
from synthreal.config import RunConfig
from synthreal.core.machine import arrange, autocast_of, device_of, micro_batch_of, precision_of
from synthreal.core.refiner import refine
from synthreal.errors import UserError
from synthreal.hooks.catalog import Catalog
from synthreal.settings import read_toml
from synthreal.weights import read_weights, read_words, write_weights

CONFIG = "config.toml"
WEIGHTS = "refiner.safetensors"


class Refine(nn.Module):
    """R as a transform: ``(B, C, H, W)`` or ``(C, H, W)`` float in [0, 1] to the same; labels need no change.

    It computes in eval mode without gradients whatever the parent module does. A refiner with noise maps draws them
    from ``generator`` (torch's global one when None): the same generator state gives the same images. At most
    ``micro_batch`` images pass through it at once ("auto" suits the device, None is all of them).
    """

    def __init__(
        self,
        refiner: nn.Module,
        *,
        channels: int,
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        micro_batch: int | str | None = None,
    ) -> None:
        super().__init__()
        self.refiner = refiner.requires_grad_(False)
        self.channels = channels
        self.generator = generator
        self.autocast = autocast
        self.micro_batch = micro_batch
        self.eval()

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        device: str = "auto",
        generator: torch.Generator | None = None,
        precision: str | None = None,
    ) -> Refine:
        """The refiner of a run directory, or of any folder with its two files.

        Args:
            run: the folder.
            device: "auto", "cpu", "cuda" or "cuda:N".
            generator: the source of noise maps.
            precision: "auto", "float32" or "bfloat16"; None takes the run's setting.

        Raises:
            UserError: a file is missing, damaged or of another network.
        """
        folder = Path(run)
        config = read_config(folder)
        assert config.image is not None, "read_config() sees to it"
        place = device_of(device)
        builtin = Catalog.of(())
        catalog = builtin if ("refiner", config.refiner.name) in builtin.networks else Catalog.of(config.plugins)
        refiner = catalog.build_network("refiner", config.refiner, config.image)
        read_refiner(folder, refiner)
        arrange(refiner.to(place), config.runtime.layout)
        return cls(
            refiner,
            channels=config.image.channels,
            generator=generator,
            autocast=autocast_of(precision_of(precision or config.runtime.precision, place)),
            micro_batch=config.runtime.micro_batch,
        )

    def train(self, mode: bool = True) -> Refine:
        """Stay in eval mode, also when a parent module is told to train."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Refine ``(B, C, H, W)`` or ``(C, H, W)`` in [0, 1], any H and W (reflect padding: above half the kernel).

        Args:
            image: what to refine.
            noise: ``(B, K, H, W)`` standard normal for a refiner with noise maps, instead of drawn ones.

        Raises:
            UserError: other shapes or integers.
        """
        if image.ndim not in (3, 4) or image.shape[-3] != self.channels or not image.is_floating_point():
            raise UserError(
                f"this refiner takes float images ({self.channels}, H, W) or (B, {self.channels}, H, W) in [0, 1], "
                f"given {image.dtype} {tuple(image.shape)}"
            )
        batch = image[None] if image.ndim == 3 else image
        parts = micro_batch_of(self.micro_batch, image.device, image.shape[-2], image.shape[-1])
        with torch.autocast(image.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            refined = refine(self.refiner, batch.float(), self.generator, noise=noise, micro_batch=parts)
        return (refined[0] if image.ndim == 3 else refined).to(image.dtype)


def write_config(folder: Path, config: RunConfig, versions: Mapping[str, str]) -> None:
    """Write config.toml: the resolved tree, then the version of each distribution."""
    write_text(folder / CONFIG, config.to_toml() + "\n" + tomli_w.dumps({"versions": dict(versions)}))


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run directory. Raises ``UserError`` when it holds none."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: holds no run (no {CONFIG}); give the folder that synthreal fit wrote")
    config = RunConfig.from_tree(read_tree(path), source=str(path))
    if config.image is None:
        raise UserError(f"{path}: image is none; it must say what the refiner's images are")
    return config


def read_tree(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, without the versions that a run's config.toml records beside them."""
    tree = read_toml(path)
    tree.pop("versions", None)
    return tree


def write_refiner(folder: Path, refiner: nn.Module, *, step: int, kind: str) -> None:
    """Write refiner.safetensors; its metadata names the step and the kind of weights ("ema" or "raw")."""
    write_weights(folder / WEIGHTS, refiner, {"step": str(step), "kind": kind})


def read_refiner(folder: Path, refiner: nn.Module) -> Mapping[str, str]:
    """Load refiner.safetensors into a network and return its metadata. Raises ``UserError`` when they do not fit."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path}: missing; finish the run with synthreal fit --resume, or restore the file")
    return read_weights(path, refiner, described=CONFIG, again="restore it or fit again")


def weights_step(folder: Path) -> str:
    """The step of the weights in refiner.safetensors. Raises ``UserError`` when there are none."""
    return read_words(folder / WEIGHTS, again="restore it or fit again")["step"]
