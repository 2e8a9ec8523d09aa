"""Checks of what a user gives to :class:`synthreal.inference.transform.Refine`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from synthreal.errors import UserError
from synthreal.inference.value_range import ValueRange


def check_reference(reference: Tensor | None, image: Tensor, *, versions: bool, scale: ValueRange) -> None:
    """Raise ``UserError`` unless real images fit images: of their channels and device, one for all or one for each."""
    if reference is None:
        return
    if not versions:
        raise UserError("reference= gives the styles of versions; load the refiner with versions=True")
    try:
        check_images(reference, channels=image.shape[-3], smallest=1, scale=scale)
        check_device(reference, image.device)
    except UserError as error:
        raise UserError(f"reference: {error}") from None
    count, given = (len(batch) if batch.ndim == 4 else 1 for batch in (image, reference))
    if given not in (1, count):
        raise UserError(f"reference: give one real image, or one for each of the {count} images, not {given}")


def check_images(image: Tensor, *, channels: int, smallest: int, scale: ValueRange) -> None:
    """Raise ``UserError`` unless images are ``(C, H, W)`` or ``(B, C, H, W)``, float or uint8, of ``smallest`` px."""
    if not isinstance(image, Tensor):
        raise UserError(f"a refiner takes tensors, given {type(image).__name__}; use torch.as_tensor(image)")
    known = image.is_floating_point() or image.dtype == torch.uint8
    if image.ndim not in (3, 4) or image.shape[-3] != channels or not known:
        raise UserError(
            f"this refiner takes images ({channels}, H, W) or (B, {channels}, H, W), float in {scale} or uint8, "
            f"given {image.dtype} {tuple(image.shape)}"
        )
    if not torch.compiler.is_compiling() and min(image.shape[-2:]) < smallest:
        raise UserError(f"this refiner takes images of {smallest} px and more, given {tuple(image.shape)}")


def check_device(image: Tensor, device: torch.device) -> None:
    """Raise ``UserError`` unless images are on the device of the refiner."""
    if device != image.device:
        worker = "; a DataLoader worker has no GPU: refine the batches it gives" if get_worker_info() else ""
        raise UserError(f"images on {image.device}, the refiner on {device}: move one with .to(device){worker}")


def check_noise(noise: Tensor | None, image: Tensor, channels: int) -> None:
    """Raise ``UserError`` unless given noise fits the images: ``(..., channels, H, W)`` on their device."""
    if noise is None or torch.compiler.is_compiling():
        return
    wanted, known = (*image.shape[:-3], channels, *image.shape[-2:]), isinstance(noise, Tensor)
    if not known or noise.shape != wanted or noise.device != image.device:
        given = f"{tuple(noise.shape)} on {noise.device}" if known else type(noise).__name__
        raise UserError(f"this refiner takes noise {wanted} on {image.device} with these images, given {given}")
