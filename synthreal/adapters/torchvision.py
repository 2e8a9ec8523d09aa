"""The refiner as a transform of torchvision v2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from synthreal.adapters.images import refine_images
from synthreal.adapters.lazy import LazyRefine, draw_seed, missing_library
from synthreal.inference.value_range import check_probability

try:
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
    install = f"'synthreal[torchvision]', the release for torch {torch.__version__}"
    raise missing_library("torchvision", install, error) from None


class Refine(v2.Transform):  # type: ignore[misc]
    """Refine the images of a sample of any structure; boxes, masks, key points and labels do not change.

    Images are ``tv_tensors.Image`` or ``Video``, PIL images, or a plain tensor as in every v2 transform:
    ``(..., C, H, W)``, uint8 or float in [0, 1]. They keep their class and dtype. As in other v2 transforms, ``p`` is
    the probability of a call, for a batch as a whole, and random numbers come from torch's global generator. The
    network runs on the images' device, without gradients, and is not part of the pipeline's parameters and state. It
    pickles as the path of the run.

    Args:
        run: run directory, or any folder with its two files.
        p: probability of a call.
        versions: each refined image, also of a batch or video, becomes one of three versions, equally likely, as in
            ``synthreal.Refine``.

    Raises:
        UserError: the folder holds no refiner, or no styles for ``versions``; when called, an invalid image, or CUDA in
            a forked worker.
    """

    def __init__(self, run: str | Path, p: float = 1.0, versions: bool = False) -> None:
        super().__init__()
        self.run, self.p, self.versions = str(run), check_probability(p), versions  # shown by print
        self._refine = LazyRefine(run, device=None, versions=versions)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw whether to refine, and the seed of noise maps and versions."""
        return {"refine": bool(torch.rand(()) < self.p), "noise_seed": draw_seed()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Refine an image; return anything else unchanged."""
        other = isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image | tv_tensors.Video)
        if other or not params["refine"]:
            return inpt
        if isinstance(inpt, Image.Image):
            return refine_images(self._refine, [inpt], keys=torch.arange(1), seed=params["noise_seed"])[0]
        pixels: Tensor = inpt.as_subclass(Tensor)
        batch = pixels.reshape(-1, *pixels.shape[-3:])
        refined = self._refine(batch, keys=torch.arange(len(batch)), seed=params["noise_seed"])
        return tv_tensors.wrap(refined.reshape(pixels.shape), like=inpt)
