"""Derived seeds: any number of independent generators from one run seed.

The seed of item ``index`` of a named stream is a keyed permutation of the 32-bit integers applied to ``index``; the key
is BLAKE2b of the stream's name. It is a permutation because torch's CPU generator uses only the low 32 bits of a seed:
with a plain hash a batch would repeat after some ten thousand steps (birthday paradox), with a permutation only after
2**32. Seeds do not depend on the process, the platform or ``PYTHONHASHSEED``.
"""

from __future__ import annotations

import hashlib

import torch


def derive_seed(index: int, *stream: str | int) -> int:
    """The seed, in [0, 2**32), of item ``index`` >= 0 of the stream named ``stream``."""
    key = hashlib.blake2b("/".join(map(str, stream)).encode(), digest_size=8).digest()
    first, second = int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")
    return _scramble(_scramble((index ^ first) & 0xFFFFFFFF) ^ second)


def derived_generator(device: torch.device | str, index: int, *stream: str | int) -> torch.Generator:
    """A new generator on ``device`` seeded by :func:`derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(index, *stream))


def _scramble(value: int) -> int:
    """The finalizer of MurmurHash3 (public domain), a bijection of the 32-bit integers that mixes well."""
    value = ((value ^ (value >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return value ^ (value >> 16)
