"""The segments of a JPEG: metadata as bytes, which may be damaged, and scans, which must not be."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

_SCAN, _COMMENT, _ADOBE, _APP0, _APP1 = 0xDA, 0xFE, 0xEE, 0xE0, 0xE1
_METADATA = {_COMMENT, *range(0xE1, 0xF0)} - {_ADOBE}  # the Adobe segment says which colours the channels are
_TABLES, _END = 0xC4, 0xD9
_SEQUENTIAL = {0xC0, 0xC1}
_BETWEEN_SCANS = {_TABLES, 0xCC, _SCAN, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), _COMMENT}
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not a stuffed 255, a restart marker or a fill byte
_ZEROS = bytes(512)
_FURTHER_IMAGES = b"MPF\0"  # a list of their places in the file, which change


def pixel_segments(content: bytes) -> bytes:
    """The file without metadata, which decoders may refuse."""
    return content[:2] + b"".join(segment for marker, segment in _segments(content) if marker not in _METADATA)


def metadata(content: bytes) -> bytes:
    """EXIF, XMP, profile, comments and other metadata, without the list of further images of a phone's JPEG."""
    found = (segment for marker, segment in _segments(content) if marker in _METADATA)
    return b"".join(segment for segment in found if segment[4:8] != _FURTHER_IMAGES)


def exif(content: bytes) -> bytes:
    """The EXIF block; empty if there is none."""
    segments = (segment for marker, segment in _segments(content) if marker == _APP1)
    return next((segment[10:] for segment in segments if segment[4:10] == b"Exif\0\0"), b"")


def metadata_start(content: bytes) -> int:
    """Where metadata belongs in a JPEG that Pillow has written: after its APP0 segment."""
    marker, segment = next(_segments(content))
    return 2 + len(segment) if marker == _APP0 else 2


def refuse_damaged(content: bytes) -> None:
    """Raise ``ValueError`` for scans that are cut off or overwritten, which libjpeg fills with grey or stripes."""
    *header, (_, scans) = _segments(content)
    marker, start = _SCAN if scans[:2] == bytes([0xFF, _SCAN]) else _END, 0
    while marker != _END:
        if marker not in _BETWEEN_SCANS:
            raise ValueError(f"damaged: its pixels contain the marker FF{marker:02X}")
        found = _MARKER.search(scans, start + 2 + int.from_bytes(scans[start + 2 : start + 4], "big"))
        if found is None:
            raise ValueError("truncated: its end is missing")
        if start == 0 and _ZEROS in scans[: found.start()] and not _may_be_zeros(header, scans):
            raise ValueError("damaged: some of its pixels are overwritten with zeros")
        start, marker = found.start(), found[0][1]


def _may_be_zeros(header: list[tuple[int, bytes]], scans: bytes) -> bool:
    """Whether blank pixels may have zeros as code in the first scan.

    The shortest code of a Huffman table consists of zeros. Unless it means the end of a block, 512 bytes of zeros are
    blocks without any coefficient of 0, which no picture has. In a progressive JPEG they may be bits of coefficients.
    """
    first = {}
    for tables in (segment[4:] for marker, segment in header if marker == _TABLES):
        while len(tables) > 17:
            first[tables[0]] = tables[17]
            tables = tables[17 + sum(tables[1:17]) :]
    return not any(marker in _SEQUENTIAL for marker, _ in header) or first.get(0x10 | scans[6] & 15, 0) == 0


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and the bytes of every segment; the last one is the rest from the first scan, or from damage."""
    start = 2
    while content[start : start + 1] == b"\xff" and start + 4 <= len(content):
        marker, length = struct.unpack_from(">xBH", content, start)
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if marker == _SCAN or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2:
            break
        yield marker, content[start : start + 2 + length]
        start += 2 + length
    yield _SCAN, content[start:]
