"""The segments of a JPEG before its pixels: metadata as bytes, which come back unchanged whatever their state."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SCAN, _COMMENT, _ADOBE, _APP0 = 0xDA, 0xFE, 0xEE, 0xE0
_METADATA = {_COMMENT, *range(0xE1, 0xF0)} - {_ADOBE}  # the Adobe segment says which colours the channels are
_FURTHER_IMAGES = b"MPF\0"  # their places in the file, which change


def pixel_segments(content: bytes) -> bytes:
    """The file without metadata, which decoders may refuse."""
    return content[:2] + b"".join(segment for marker, segment in _segments(content) if marker not in _METADATA)


def metadata(content: bytes) -> bytes:
    """EXIF, XMP, profile, comments and other metadata; not the list of the further images of a phone's JPEG."""
    found = (segment for marker, segment in _segments(content) if marker in _METADATA)
    return b"".join(segment for segment in found if segment[4:8] != _FURTHER_IMAGES)


def metadata_start(content: bytes) -> int:
    """Where metadata belongs in a JPEG that Pillow has written: behind its first APP0 segment."""
    marker, segment = next(_segments(content))
    return 2 + len(segment) if marker == _APP0 else 2


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and the bytes of every segment; the last one is the rest from the first scan, or from damage."""
    start = 2
    while content[start : start + 1] == b"\xff" and start + 4 <= len(content):
        marker, length = struct.unpack_from(">xBH", content, start)
        if marker == 0xFF:  # a byte that fills
            start += 1
            continue
        if marker == _SCAN or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or length < 2:
            break
        yield marker, content[start : start + 2 + length]
        start += 2 + length
    yield _SCAN, content[start:]
