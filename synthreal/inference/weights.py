"""Weights of a network in a file: safetensors, whole or absent, never unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors
import safetensors.torch
import torch

from synthreal.errors import UserError
from synthreal.files import replacing

if TYPE_CHECKING:
    from torch import nn


def write_weights(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the state of a network, on the CPU, and words about it."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(weights, metadata={**metadata, "format": "pt"})
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_weights(path: Path, network: nn.Module, *, described: str, again: str) -> Mapping[str, str]:
    """Load a file into a network and return the words about it.

    Args:
        path: the file.
        network: what it must fit.
        described: where the network is described ("config.toml").
        again: what to do when the file is damaged ("restore it or fit again").

    Raises:
        UserError: the file is damaged, or of another network.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            metadata = dict(file.metadata() or {})
        network.load_state_dict(weights)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); {again}") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: weights of another network than {described} describes ({reason}); {again}") from error
    return metadata


def weights_sha256(network: nn.Module) -> str:
    """A SHA-256 of the names, types, shapes and values of a network's weights, wherever and in what order they lie."""
    found = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def read_metadata(path: Path, *, again: str) -> Mapping[str, str]:
    """The words about the weights in a file, without reading them. Raises ``UserError`` when it is damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); {again}") from error
