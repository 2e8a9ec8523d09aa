"""The header of a PNM file (PBM, PGM or PPM), and whether further pictures follow the first."""

from __future__ import annotations

import re

_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)"
_BITS, _VALUES = re.compile(rb"P[14]" + 2 * _NUMBER), re.compile(rb"P[2356]" + 3 * _NUMBER)
_NEXT = re.compile(rb"\s*P[1-6]\s")


def largest_value(content: bytes) -> int:
    """The value of white in a PGM or PPM: the third number of its header, in which ``#`` starts a comment."""
    return _header(content)[0][2]


def has_further_pictures(content: bytes) -> bool:
    """Whether another picture follows the first. The formats of text (P1 to P3) hold one."""
    (width, height, *top), start = _header(content)
    bits = (1 if not top else 8 if top[0] < 256 else 16) * (3 if content[1:2] == b"6" else 1)
    return content[1:2] in b"456" and _NEXT.match(content, start + -(-bits * width // 8) * height) is not None


def _header(content: bytes) -> tuple[list[int], int]:
    """The numbers of the header, and where the pixels start."""
    if not (found := _BITS.match(content) or _VALUES.match(content)):
        raise ValueError("its header is not that of a PBM, PGM or PPM; save it as PNG")
    return [int(number) for number in found.groups()], found.end() + 1
