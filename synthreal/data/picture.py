"""Image files: their pixels as arrays, and files of the same format with other pixels.

A rewritten file keeps the format and the size of the original, its bit depth of 8 or 16, its alpha channel, the quality
and chroma subsampling of a JPEG, the compression of a TIFF, the colour profile, resolution, EXIF, XMP and text.
Palettes become true colour, because a refined image has more than 256 colours.

Pixels are those stored in the file. An orientation that EXIF or a TIFF tag requests is not applied, but preserved: a
rotated eye has another gaze. OpenCV decodes 16-bit *colour*, which Pillow reduces to 8 bits.

A phone's JPEG may hold further images after the first, such as a preview or a gain map (Pillow calls this MPO). They
describe the old pixels, so the result is a JPEG of the first image alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"}
_ORIENTATION = 274
# description, make, model, orientation, x and y resolution and unit, software, date, artist, XMP, copyright, profile
_TIFF_METADATA = (270, 271, 272, _ORIENTATION, 282, 283, 296, 305, 306, 315, 700, 33432, 34675)
_INFO = ("icc_profile", "exif", "xmp", "dpi", "comment")
_GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_REVERSED = [2, 1, 0, 3]  # OpenCV's order of channels: blue, green, red, alpha


@dataclass(frozen=True)
class Picture:
    """The pixels of an image file and the metadata for writing a file like it.

    Attributes:
        colour: ``(1, H, W)`` for grey or ``(3, H, W)`` for red, green, blue; uint8 or uint16.
        alpha: ``(H, W)`` of the same dtype, or None.
        bilevel: whether the file has one bit per pixel.
        options: arguments of Pillow's ``save``.
        chunks: the metadata chunks of a PNG.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    format: str
    bilevel: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    chunks: bytes = b""

    def encoded(self, colour: np.ndarray) -> bytes:
        """The file with other pixels: ``(C, H, W)`` of the shape and dtype of :attr:`colour`."""
        planes = colour if self.alpha is None else np.concatenate([colour, self.alpha[None]])
        pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if colour.dtype == np.uint16 and len(planes) > 1:
            content = _png_16(pixels) if self.format == "PNG" else _tiff_16(pixels, **self.options)
        else:
            pixels = pixels[..., 0] if len(planes) == 1 else pixels
            image = Image.fromarray(pixels >= 128 if self.bilevel else pixels)
            target = BytesIO()
            image.save(target, self.format, **self.options)
            content = target.getvalue()
        end = len(_PNG_SIGNATURE) + 25  # of the header chunk of a PNG, after which metadata may stand
        return content[:end] + self.chunks + content[end:]


def read_picture(content: bytes) -> Picture:
    """The picture in the bytes of a PNG, JPEG, TIFF or BMP; ``ValueError`` if it could not be written back correctly.

    Decoders raise anything on broken bytes.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        kind = "JPEG" if opened.format == "MPO" else str(opened.format)
        _refuse_unsupported(opened, kind)
        mode, options = opened.mode, _save_options(opened)  # before loading, which makes Pillow forget the orientation
        chunks = _metadata_chunks(content) if kind == "PNG" else b""
        if _is_16_bit(opened, content) and mode not in _GREY_16:
            planes = _colour_16(content, mode, options)
        else:
            planes = stored_pixels(opened)
    colours = 1 if len(planes) < 3 else 3
    alpha = planes[colours] if len(planes) > colours else None
    return Picture(planes[:colours], alpha, kind, mode == "1", options, chunks)


def stored_pixels(opened: Image.Image) -> np.ndarray:
    """The pixels ``(C, H, W)`` of an opened file as stored: no orientation applied, 16-bit grey as uint16, else uint8.

    Modes other than grey and RGB, with or without alpha, are converted to RGB (palettes with transparency to RGBA).
    Pixels of 32 bits raise ``ValueError``.
    """
    is_tiff = isinstance(opened, TiffImagePlugin.TiffImageFile)
    orientation = opened.getexif().get(_ORIENTATION) if is_tiff else None
    opened.load()
    if opened.mode == "F":
        raise ValueError("32-bit float pixels; save it with 8 or 16 bits")
    if opened.mode in _GREY_16:
        pixels = np.asarray(opened)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("32-bit integer pixels; save it with 8 or 16 bits")
        pixels = pixels.astype(np.uint16)
    else:
        other = "L" if opened.mode == "1" else "RGBA" if "transparency" in opened.info else "RGB"
        pixels = np.asarray(opened if opened.mode in ("L", "LA", "RGB", "RGBA") else opened.convert(other))
    if is_tiff and opened.getexif().get(_ORIENTATION) != orientation:  # Pillow has applied and forgotten it
        pixels = _without_orientation(pixels, orientation)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


@contextmanager
def any_size() -> Iterator[None]:
    """Lift Pillow's limit of 179 million pixels, which protects against untrusted files."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def picture_size(content: bytes) -> tuple[int, int]:
    """``(H, W)`` from the header alone. Raises what :func:`read_picture` raises."""
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        return opened.height, opened.width


def one_line(error: Exception) -> str:
    """An error of reading or writing an image file as one line."""
    if isinstance(error, UnidentifiedImageError):  # its message contains a memory address
        return "not a whole PNG, JPEG, TIFF or BMP"
    return " ".join(str(error).split()) or type(error).__name__


def _refuse_unsupported(opened: Image.Image, kind: str) -> None:
    """Raise ``ValueError`` for a file whose pixels or alpha would come out wrong."""
    mode = opened.mode
    if kind != "JPEG" and (pages := getattr(opened, "n_frames", 1)) > 1:
        raise ValueError(f"it holds {pages} pages; save each in a file of its own")
    if mode not in {"1", "L", "LA", "P", "RGB", "RGBA", *_GREY_16} or (mode == "I" and kind != "PNG"):
        raise ValueError(f"its pixels are {mode}; save it as grey or RGB of 8 or 16 bits")
    if mode != "P" and "transparency" in opened.info:
        raise ValueError("a colour of it stands for transparency; save it with an alpha channel")
    if kind == "BMP" and mode == "RGBA":
        raise ValueError("a BMP with alpha; save it as PNG")
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        _refuse_unsupported_tiff(opened.tag_v2, mode, len(opened.getbands()))


def _refuse_unsupported_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2, mode: str, bands: int) -> None:
    depths = set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) != bands:
        raise ValueError("it has channels beside colour and alpha; save it as grey or RGB")
    if mode in _GREY_16 and depths != {16}:
        raise ValueError(f"its pixels have {', '.join(map(str, depths))} bits; save it with 8 or 16")
    if mode in _GREY_16 and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        raise ValueError("16-bit grey whose 0 is white; save it with 0 for black")
    if depths == {16} and mode == "RGBA" and tags.get(TiffImagePlugin.EXTRASAMPLES) == (1,):
        raise ValueError("16-bit colour that is multiplied with its alpha; save it unmultiplied")


def _is_16_bit(opened: Image.Image, content: bytes) -> bool:
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        return 16 in opened.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    return opened.format == "PNG" and content[24] == 16


def _save_options(opened: Image.Image) -> dict[str, Any]:
    """The arguments with which Pillow writes the metadata of an opened file; a PNG's are in its chunks."""
    info = {name: opened.info[name] for name in _INFO if opened.info.get(name)}
    if isinstance(opened, JpegImagePlugin.JpegImageFile):
        info |= {"subsampling": JpegImagePlugin.get_sampling(opened), "progressive": "progressive" in opened.info}
        return {"qtables": opened.quantization, **info}
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        found = {tag: opened.tag_v2[tag] for tag in _TIFF_METADATA if tag in opened.tag_v2}
        # text as its bytes: Pillow would replace letters beyond ASCII by "?"
        tags = {tag: value.encode("latin-1") if isinstance(value, str) else value for tag, value in found.items()}
        compression = opened.info.get("compression")
        return {"tiffinfo": tags, "compression": None if compression == "raw" else compression}
    return {"dpi": info["dpi"]} if opened.format == "BMP" and "dpi" in info else {}


def _without_orientation(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """Undo the rotation that a decoder applies to a TIFF of this orientation: ``(H, W, ...)``."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 7, 8) else pixels


def _colour_16(content: bytes, mode: str, options: dict[str, Any]) -> np.ndarray:
    """16-bit colour as ``(C, H, W)`` uint16: red, green, blue, alpha."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[2:] != (len(mode),) or mode == "LA":
        raise ValueError("16-bit pixels that OpenCV does not read; save it as a plain 16-bit PNG")
    pixels = _without_orientation(pixels, options.get("tiffinfo", {}).get(_ORIENTATION))
    return np.ascontiguousarray(pixels[..., _REVERSED[: len(mode)]].transpose(2, 0, 1))


def _png_16(pixels: np.ndarray) -> bytes:
    import cv2

    done, content = cv2.imencode(".png", pixels[..., _REVERSED[: pixels.shape[-1]]])
    if not done:
        raise ValueError("OpenCV does not write 16-bit colour as PNG")
    return bytes(content)


def _tiff_16(pixels: np.ndarray, tiffinfo: dict[int, Any], compression: str | None) -> bytes:
    """One strip after the tags, deflated where the file was compressed: OpenCV writes neither profile nor rotation."""
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


def _metadata_chunks(content: bytes) -> bytes:
    """The metadata chunks of a PNG whose checksums are right; a wrong one before the pixels would spoil the file."""
    chunks, start = b"", len(_PNG_SIGNATURE)
    while start + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        checksum = struct.pack(">I", zlib.crc32(content[start + 4 : end - 4]))
        if name in _PNG_METADATA and content[end - 4 : end] == checksum:
            chunks += content[start:end]
        start = end
    return chunks
