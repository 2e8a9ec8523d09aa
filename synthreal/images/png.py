"""The chunks of a PNG: metadata as bytes, and what decoders leave out (colours for transparency, significant bits)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 25
_METADATA = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"}
_GREY, _RGB, _PALETTE, _GREY_ALPHA = 0, 2, 3, 4


def depth(content: bytes) -> int:
    """Bits per sample, from the header chunk."""
    return content[24]


def is_grey_with_alpha(content: bytes) -> bool:
    """Whether each pixel has a grey value and alpha; Pillow and OpenCV may repeat the grey three times."""
    return content[25] == _GREY_ALPHA


def pixel_chunks(content: bytes) -> bytes:
    """The file without metadata, which decoders may refuse (damaged, or larger when decompressed than they allow).

    Of optional chunks only the alpha of a palette remains. Raises ``ValueError`` for pixels with a wrong checksum,
    which Pillow does not compare.
    """
    if len(content) < HEADER_END or content[12:16] != b"IHDR":
        raise ValueError("not a whole PNG: its header is missing")
    palette = content[25:26] == bytes([_PALETTE])
    kept = [(name, chunk) for name, chunk in _chunks(content) if not name[0] & 32 or (palette and name == b"tRNS")]
    if not all(_is_whole(chunk) for name, chunk in kept if name == b"IDAT"):
        raise ValueError("damaged: the checksum of its pixels is wrong")
    return SIGNATURE + b"".join(chunk for _, chunk in kept)


def metadata(content: bytes) -> bytes:
    """The metadata chunks whose checksums are right; a wrong one before the pixels would spoil the file."""
    return b"".join(chunk for name, chunk in _chunks(content) if name in _METADATA and _is_whole(chunk))


def frames(content: bytes) -> int:
    """The number of pictures of an animation; 1 for a plain PNG."""
    control = _body(content, b"acTL")
    return 1 if control is None or len(control) < 4 else int(struct.unpack_from(">I", control)[0])


def exif(content: bytes) -> bytes:
    """The EXIF block, wherever it stands; empty if there is none."""
    return _body(content, b"eXIf") or b""


def transparent_colour(content: bytes) -> np.ndarray | None:
    """The grey or RGB that stands for transparency, ``(C,)`` scaled like the pixels; None if there is none."""
    channels = {_GREY: 1, _RGB: 3}.get(content[25])
    body = _body(content, b"tRNS")
    if channels is None or body is None or len(body) != 2 * channels:
        return None
    bits = depth(content)
    return np.array(struct.unpack(f">{channels}H", body)) % (1 << bits) * max(1, 255 // ((1 << bits) - 1))


def has_unscaled_samples(content: bytes, pixels: np.ndarray) -> bool:
    """Whether samples of fewer significant bits (sBIT) lie in the low bits: images of 12 bits at 1/16 brightness.

    The standard asks for samples scaled to the whole depth, by a shift, repeated bits or a factor. Those below
    ``2 ** bits`` are then at most 1 above a multiple of ``2 ** (depth - bits)``, or 0 if ``bits`` is at most half the
    depth. Alpha does not matter.
    """
    body = _body(content, b"sBIT")
    if not body or content[25] == _PALETTE:
        return False
    most, colours = depth(content), body[: 3 if content[25] & _RGB else 1]
    pixels = pixels // (np.iinfo(pixels.dtype).max // ((1 << most) - 1))
    parts = [(plane, bits) for plane, bits in zip(pixels, colours, strict=False) if 0 < bits < most]
    if any(plane.max(initial=0) >= 1 << bits for plane, bits in parts):
        return False
    return any((plane % (1 << most - bits) > (2 * bits > most)).any() for plane, bits in parts)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and the bytes of every whole chunk up to the end of the picture, or to one that is cut off."""
    start, name = len(SIGNATURE), b""
    while start + 12 <= len(content) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if end > len(content):  # OpenCV would reserve the memory it asks for
            return
        yield name, content[start:end]
        start = end


def _body(content: bytes, name: bytes) -> bytes | None:
    return next((chunk[8:-4] for other, chunk in _chunks(content) if other == name and _is_whole(chunk)), None)


def _is_whole(chunk: bytes) -> bool:
    return struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]
