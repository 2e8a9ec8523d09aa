"""Mutated copies of valid bytes, each a function of a seed: what disks, networks and attackers make of a file."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (
    b"0",
    b"-1",
    b"1e999",
    b"nan",
    b"9" * 400,
    b"1" + b"0" * 5000,
    b"18446744073709551616",
    b"2147483648",
    b"0.5",
)
TEXTS = (
    b'""',
    b"null",
    b"[]",
    b"{}",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"true",
    b'"\\ud800"',
    b"\xff\xfe",
    b"\x00",
    b"\xef\xbb\xbf",
)
WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutate(contents: Sequence[bytes], seed: str) -> bytes:
    """One of the contents after one to four mutations; the same seed gives the same bytes."""
    chance = random.Random(seed)
    content = bytearray(chance.choice(contents))
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(MUTATIONS)(content, chance, contents)
    return bytes(content)


def _position(content: bytearray, chance: random.Random) -> int:
    """A position, in the first 512 bytes for every second mutation: headers are there."""
    length = len(content) if chance.random() < 0.5 else min(len(content), 512)
    return chance.randrange(length + 1)


def flip(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Change some bits."""
    for _bit in range(chance.choice((1, 2, 8)) if content else 0):
        content[_position(content, chance) % len(content)] ^= 1 << chance.randrange(8)


def cut(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Truncate."""
    del content[_position(content, chance) :]


def drop(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Remove a piece."""
    start = _position(content, chance)
    del content[start : start + chance.choice((1, 4, 64, 1024))]


def repeat(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Repeat a piece."""
    start = _position(content, chance)
    content[start:start] = content[start : start + chance.choice((1, 8, 256))] * chance.choice((1, 3, 50))


def word(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Overwrite an integer of 1 to 8 bytes by an extreme one, in either byte order."""
    size, start = chance.choice((1, 2, 4, 8)), _position(content, chance)
    value = chance.choice(WORDS) & ((1 << 8 * size) - 1)
    content[start : start + size] = value.to_bytes(size, chance.choice(("little", "big")))


def splice(content: bytearray, chance: random.Random, contents: Sequence[bytes]) -> None:
    """Continue with the end of another file."""
    other = chance.choice(contents)
    content[_position(content, chance) :] = other[chance.randrange(len(other) + 1) :]


def number(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Replace a run of digits."""
    _replace(content, chance, b"0123456789.-", chance.choice(NUMBERS))


def text(content: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    """Replace a run of letters by another value."""
    _replace(content, chance, b'abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ"', chance.choice(TEXTS))


def _replace(content: bytearray, chance: random.Random, members: bytes, value: bytes) -> None:
    start = _position(content, chance)
    while start < len(content) and content[start] not in members:
        start += 1
    end = start
    while end < len(content) and content[end] in members:
        end += 1
    content[start:end] = value


MUTATIONS: tuple[Mutation, ...] = (flip, flip, cut, drop, repeat, word, word, splice, number, text)
