"""The header of a PNM file (PBM, PGM or PPM), and whether further pictures follow the first."""

from __future__ import annotations

import re

_HEADER = re.compile(rb"P[1-6]" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" * 2)
_LARGEST = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)")
_NEXT = re.compile(rb"\s*P[1-6]\s")


def largest_value(content: bytes) -> int:
    """The value of white in a PGM or PPM: the third number of its header, in which ``#`` starts a comment."""
    return _layout(content)[0]


def has_further_pictures(content: bytes) -> bool:
    """Whether another picture follows the first. The formats of text (P1 to P3) hold one."""
    if content[1:2] not in (b"4", b"5", b"6"):
        return False
    return _NEXT.match(content, _layout(content)[1]) is not None


def _layout(content: bytes) -> tuple[int, int]:
    """The largest value, 1 for bits, and where the pixels of a binary file end."""
    found = _HEADER.match(content)
    largest = found and (found if content[1:2] in (b"1", b"4") else _LARGEST.match(content, found.end()))
    if not found or not largest:
        raise ValueError("its header is not that of a PBM, PGM or PPM")
    width, height = int(found[1]), int(found[2])
    if largest is found:
        return 1, found.end() + 1 + -(-width // 8) * height
    top = int(largest[1])
    channels = 3 if content[1:2] in (b"3", b"6") else 1
    return top, largest.end() + 1 + width * height * channels * (1 if top < 256 else 2)
