"""The tags of a TIFF: what its samples mean, its metadata, and 16-bit colour as a file (TIFF 6.0, and BigTIFF)."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

_SUBFILE, _WIDTH, _HEIGHT, _DESCRIPTION, _DEPTH = 254, 256, 257, 270, 32997
_MAX_SAMPLE, _MAX_SAMPLE_OF_TYPE, _PALETTE_COLOURS = 281, 341, 320
_STRIPS, _ROWS, _STRIP_LENGTHS, _TILES, _TILE_LENGTHS = 273, 278, 279, 324, 325
_BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS, _EXTRA, _SAMPLE_FORMAT = 258, 259, 262, 277, 338, 339
_BIT_ORDER, _PLANES, _TILE_WIDTH, _TILE_HEIGHT, _INKS = 266, 284, 322, 323, 332
# metadata: description, make, model, software, date, artist, XMP, copyright, profile
_TEXT = (270, 271, 272, 305, 306, 315, 700, 33432, 34675)
_RESOLUTION = (282, 283)
_ORIENTATION = 274
_CODES = {_ORIENTATION: range(1, 9), 296: range(1, 4)}  # and the unit of the resolution
# size, depth, compression, meaning, bit order, strips, tiles, planes, predictor, palette, channels, JPEG, YCbCr
_PIXELS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
_PIXELS |= {347, 529, 530, 531, 532}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MAX_PAGES = 64
SEVERAL_PAGES = "it holds several pages; save each in a file of its own"
# of what TIFF allows, that which Pillow and OpenCV decode correctly
_DEPTHS = {1, 2, 4, 8, 16}
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCBCR = 0, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, 2: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_UNCOMPRESSED, _OLD_JPEG, _JPEG = 1, 6, 7
_LIMITED = {_UNCOMPRESSED, 5, _JPEG, 8, 32773, 32946}  # LZW, deflate, PackBits
_BIT_REVERSED = {1, 2, 3, 4}  # none and fax compression
_ALPHA = {(1,), (2,)}
_SCALED = {_WHITE_IS_ZERO: 1, 1: 1, 2: 3}  # channels


class TiffTags:
    """The tags of the first page of a TIFF. Raises ``ValueError`` if they cannot be read.

    Attributes:
        white_is_zero: whether the largest value is black.
        extra: the kinds of the channels beside grey or colour, 0 unknown, 1 alpha that colours are multiplied with.
        tile: ``(H, W)`` of a tile; ``(0, 0)`` without tiles.
        limited: whether the size of the compressed pixels limits their number.
        orientation: how a viewer turns the picture, 1 to 8; 1 as stored.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._order = "<" if content[:2] == b"II" else ">"
        self._big = 43 in content[2:4]
        try:
            self._start = self._unpack("Q", 8) if self._big else self._unpack("I", 4)
            self._entries, self._next = self._directory(self._start)
        except struct.error:
            raise ValueError("its tags are cut off") from None
        self.bits = self._numbers(_BITS, 1)
        self.channels = self._numbers(_CHANNELS, 1)[0]
        self.extra = self._numbers(_EXTRA)
        self._meaning, self._compression = self._numbers(_PHOTOMETRIC, -1)[0], self._numbers(_COMPRESSION, 1)[0]
        self.white_is_zero = self._meaning == _WHITE_IS_ZERO
        self.limited = self._compression in _LIMITED
        self.tile = self._numbers(_TILE_HEIGHT, 0)[0], self._numbers(_TILE_WIDTH, 0)[0]
        orientation = self._numbers(_ORIENTATION, 1)[0]
        self.orientation = orientation if orientation in _CODES[_ORIENTATION] else 1

    def refuse_unsupported(self) -> None:
        """Raise ``ValueError`` for stacks and samples that decoders leave out or decode to wrong values."""
        meaning, compression = self._meaning, self._compression
        save = "save it as grey or RGB of 8 or 16 bits"
        if self._big and self._order == ">":
            raise ValueError(f"a big-endian BigTIFF; {save}")
        if self._numbers(_SUBFILE, 0)[0] & 1:
            raise ValueError(f"its first page is the preview of another image; {save}")
        if self._is_stack():
            raise ValueError(SEVERAL_PAGES)
        if set(self._numbers(_SAMPLE_FORMAT, 1)) != {1}:
            raise ValueError(f"its values are float or signed; {save}")
        if len(set(self.bits)) > 1 or self.bits[0] not in _DEPTHS:
            raise ValueError(f"its pixels have {', '.join(map(str, sorted(set(self.bits))))} bits; {save}")
        if meaning == -1:
            raise ValueError(f"its tags do not say which value is black (PhotometricInterpretation); {save}")
        if meaning not in _COLOURS or (meaning == _YCBCR and compression != _JPEG) or compression == _OLD_JPEG:
            raise ValueError(f"its colours are of kind {meaning} with compression {compression}; {save}")
        if self._numbers(_PLANES, 1)[0] == 2 and (self.bits[0] == 16 or self.channels == 2 or 1 in self.extra):
            raise ValueError(f"its channels are in planes of their own; {save}, interleaved")
        if self._numbers(_BIT_ORDER, 1)[0] == 2 and compression not in _BIT_REVERSED:
            raise ValueError(f"its compressed bytes begin with the lowest bit (FillOrder); {save}")
        if meaning == _CMYK and (self.bits[0] != 8 or self.channels != 4 or self._numbers(_INKS, 1)[0] != 1):
            raise ValueError(f"its inks are not CMYK of 8 bits; {save}")
        if self.bits[0] == 16 and 1 in self.extra:
            raise ValueError("16-bit colour that is multiplied with its alpha; save it unmultiplied")
        if (more := self.channels - _COLOURS[meaning]) > 0 and (more > 1 or self.extra not in _ALPHA):
            raise ValueError("it has channels beside colour and alpha (ExtraSamples); save it as grey or RGB")
        if meaning == _PALETTE and 0 < max(self._numbers(_PALETTE_COLOURS, 0)) < 256:
            raise ValueError(f"the colours of its palette have 8 bits instead of 16; {save}")
        self._refuse_missing_strips()

    def refuse_unscaled(self, pixels: np.ndarray) -> None:
        """Raise ``ValueError`` if white is less than half of what the samples ``(C, H, W)`` can hold (MaxSampleValue).

        The standard has the tag for statistics: values above it show that it does not mean white.
        """
        white, most = np.iinfo(pixels.dtype).max, (1 << self.bits[0]) - 1
        declared = self._numbers(_MAX_SAMPLE_OF_TYPE) or self._numbers(_MAX_SAMPLE, most)
        for number, plane in enumerate(pixels[: _SCALED.get(self._meaning, 0)]):
            top = declared[min(number, len(declared) - 1)]
            largest = int(white - plane.min(initial=white) if self.white_is_zero else plane.max(initial=0))
            if 0 < largest * most <= top * white < white * most / 2:
                raise ValueError(f"its white is {top} of {most} (MaxSampleValue); scale its values to {most}")

    def pixel_content(self) -> bytes:
        """The file with the first page alone and only those tags that decoding needs.

        So damaged metadata does no harm, and no decoder applies an orientation.
        """
        needed = _PIXELS - {_PLANES} if self.channels == 1 else _PIXELS  # one plane, which Pillow would not invert
        entries = [entry for tag, entry in self._entries.items() if tag in needed]
        count = struct.pack(self._order + ("Q" if self._big else "H"), len(entries))
        directory = count + b"".join(entries) + bytes(8 if self._big else 4)
        return self._content[: self._start] + directory + self._content[self._start + len(directory) :]

    def metadata(self) -> dict[int, Any]:
        """The tags of metadata for Pillow's ``tiffinfo``, text as bytes; damaged ones are left out."""
        found: dict[int, Any] = {}
        for tag in self._entries.keys() & {*_TEXT, *_CODES, *_RESOLUTION}:
            kind, raw = self._value(self._entries[tag])
            if tag in _TEXT and kind in (1, 2, 7) and raw:
                found[tag] = raw.rstrip(b"\0") if kind == 2 else raw
            elif tag in _CODES and self._numbers(tag, 0)[0] in _CODES[tag]:
                found[tag] = self._numbers(tag)[0]
            elif tag in _RESOLUTION and kind == 5 and len(raw) == 8 and any(raw[4:]):  # the denominator is not 0
                found[tag] = TiffImagePlugin.IFDRational(*struct.unpack(self._order + "II", raw))
        return found

    def _is_stack(self) -> bool:
        """Whether one page holds several pictures, as ImageJ and SGI store them."""
        text = self._value(self._entries[_DESCRIPTION])[1] if _DESCRIPTION in self._entries else b""
        images = re.match(rb"ImageJ=.*^images=0*([1-9]\d*)", text, re.DOTALL | re.MULTILINE)
        return self._numbers(_DEPTH, 1)[0] > 1 or (images is not None and images[1] != b"1")

    def has_further_pages(self) -> bool:
        """Whether pages follow that are not reduced copies of the first. Not all are read."""
        following, seen = self._next, {self._start}
        while following and following not in seen:
            if len(seen) == _MAX_PAGES:
                return True
            seen.add(following)
            try:
                entries, following = self._directory(following)
            except struct.error:  # damaged, but the first page is whole
                return False
            if _SUBFILE not in entries or not any(byte & 1 for byte in self._value(entries[_SUBFILE])[1]):
                return True
        return False

    def _refuse_missing_strips(self) -> None:
        """Raise ``ValueError`` for fewer strips or tiles than the pixels need; Pillow leaves theirs black."""
        width, height = self._numbers(_WIDTH, 0)[0], self._numbers(_HEIGHT, 0)[0]
        planes = self.channels if self._numbers(_PLANES, 1)[0] == 2 else 1
        tiled = _TILES in self._entries
        rows, columns = self.tile if tiled else (min(self._numbers(_ROWS, height)[0], height), width)
        found = self._numbers(_TILES if tiled else _STRIPS)
        needed = planes * -(-height // max(rows, 1)) * -(-width // max(columns, 1))
        if len(found) < needed:
            raise ValueError(f"damaged: {len(found)} of its {needed} strips or tiles are there")
        lengths = self._numbers(_TILE_LENGTHS if tiled else _STRIP_LENGTHS)
        row = -(-columns * self.bits[0] * (self.channels // planes) // 8)
        raw = row * (needed * rows if tiled else planes * height)
        if self._compression == _UNCOMPRESSED and lengths and sum(lengths) < raw:
            raise ValueError(f"damaged: {sum(lengths)} of the {raw} bytes of its pixels are there")

    def _directory(self, start: int) -> tuple[dict[int, bytes], int]:
        """The entries of the directory at ``start`` by tag, and where the next one starts."""
        size, first = (20, start + 8) if self._big else (12, start + 2)
        count = self._unpack("Q" if self._big else "H", start)
        end = first + count * size
        following = self._unpack("Q" if self._big else "I", end) if end < len(self._content) else 0
        if end > len(self._content):
            raise struct.error
        entries: dict[int, bytes] = {}
        for at in range(first, end, size):
            entries.setdefault(self._unpack("H", at), self._content[at : at + size])
        return entries, following

    def _value(self, entry: bytes) -> tuple[int, bytes]:
        """The type of an entry and its bytes, none if they are cut off."""
        kind, count = struct.unpack_from(self._order + ("HQ" if self._big else "HI"), entry, 2)
        own = entry[12:] if self._big else entry[8:]
        size = count * _SIZES.get(kind, 0)
        if size > len(own):
            (start,) = struct.unpack(self._order + ("Q" if self._big else "I"), own)
            own = self._content[start : start + size]
        return kind, own[:size] if len(own) >= size else b""

    def _numbers(self, tag: int, default: int | None = None) -> tuple[int, ...]:
        """The integers of a tag; ``default``, or none, where it is missing."""
        if tag in self._entries:
            kind, raw = self._value(self._entries[tag])
            if kind in _INTEGERS and raw:
                return struct.unpack(f"{self._order}{len(raw) // _SIZES[kind]}{_INTEGERS[kind]}", raw)
        return () if default is None else (default,)

    def _unpack(self, form: str, start: int) -> int:
        return int(struct.unpack_from(self._order + form, self._content, start)[0])


def encode_16(pixels: np.ndarray, tiffinfo: dict[int, Any], compression: str | None) -> bytes:
    """16-bit colour ``(H, W, C)`` as a TIFF of one strip after the tags, deflated if the file was compressed.

    OpenCV writes neither profile nor orientation.
    """
    height, width, channels = pixels.shape
    strip = pixels.astype("<u2").tobytes()
    strip = strip if compression is None else zlib.compress(strip)
    layout = {
        TiffImagePlugin.IMAGEWIDTH: width,
        TiffImagePlugin.IMAGELENGTH: height,
        TiffImagePlugin.BITSPERSAMPLE: (16,) * channels,
        TiffImagePlugin.COMPRESSION: 1 if compression is None else 8,
        TiffImagePlugin.PHOTOMETRIC_INTERPRETATION: 2,
        TiffImagePlugin.SAMPLESPERPIXEL: channels,
        TiffImagePlugin.ROWSPERSTRIP: height,
        TiffImagePlugin.STRIPOFFSETS: 0,  # after the tags
        TiffImagePlugin.STRIPBYTECOUNTS: len(strip),
    }
    if channels == 4:
        layout[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that colours are not multiplied with
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.update({**tiffinfo, **layout})
    target = BytesIO()
    tags.save(target)
    return target.getvalue() + strip
