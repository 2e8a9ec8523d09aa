"""Weight files: safetensors, written atomically, never unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from synthreal.errors import UserError
from synthreal.files import atomic_write

if TYPE_CHECKING:
    from torch import nn


def write_weights(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the state of a network with metadata."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = _with_sorted_metadata(safetensors.torch.save(weights, metadata={**metadata, "format": "pt"}))
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _with_sorted_metadata(content: bytes) -> bytes:
    """The same file with sorted metadata; safetensors writes them in random order, so equal weights would differ."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:8] + text.ljust(length) + content[8 + length :]


def read_weights(path: Path, network: nn.Module, *, described: str, remedy: str) -> Mapping[str, str]:
    """Load a file into a network and return its metadata. Raises ``UserError`` if it is damaged or does not fit.

    Messages name ``described``, the place that describes the network, and the ``remedy``.
    """
    with _opened(path, remedy) as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        metadata = dict(file.metadata() or {})
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: its weights do not fit the network in {described} ({reason}); {remedy}") from error
    return metadata


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write named tensors."""
    content = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def read_tensors(path: Path, *, remedy: str) -> dict[str, torch.Tensor]:
    """The tensors of a file by name. Raises ``UserError`` if it is damaged."""
    with _opened(path, remedy) as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of the names, dtypes, shapes and values of a network's weights, whatever their device and layout."""
    digest = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_metadata(path: Path, *, remedy: str) -> Mapping[str, str]:
    """The metadata of a weight file. Raises ``UserError`` if it is damaged."""
    with _opened(path, remedy) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator[Any]:
    """An open file; a damaged one may raise any of these, also while it is read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a complete safetensors file ({error}); {remedy}") from error
