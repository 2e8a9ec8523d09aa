"""A picture file as the pixels a refiner sees, and back into a file of the same kind.

What the refiner does not see is kept: format, mode, bit depth, size, alpha; quality and sampling of a JPEG; compression
of a TIFF; colour profile, resolution, EXIF. The pixels are those of the file: a rotation that EXIF asks for is not
applied, and still asked for afterwards. Of 16-bit *colour*, which Pillow cuts to 8 bits, OpenCV reads the pixels.

A phone's JPEG may hold further pictures behind its own, a preview or a gain map, which Pillow calls MPO. They belong to
the pixels that were; the first picture is refined and becomes an ordinary JPEG.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from synthreal.data.palette import with_palette

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_WORDS = {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME"}
_TIFF_WORDS = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 34675)  # text, orientation, resolution, profile
_TIFF_BYTES = {700: 1, 33723: 7, 34377: 1}  # XMP, IPTC, Photoshop's, and the types libtiff writes them in
_ORIENTATION = 274
_CHANNELS = {"P": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_GREY = {"1", "L", "LA", "I;16", "I;16B", "I"}
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # what a decoder did to a TIFF of this orientation, undone
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: np.rot90,
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 3),
}


@dataclass(frozen=True)
class Picture:
    """The pixels of a file, and what it takes to write others in their place.

    Attributes:
        colour: ``(1, H, W)`` for grey or ``(3, H, W)`` for red, green, blue; uint8 or uint16.
        alpha: ``(H, W)`` of the same dtype, or None.
        format: one of ``FORMATS``.
        mode: Pillow's.
        options: what Pillow is to save it with.
        words: chunks of a PNG that are no pixels.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    format: str
    mode: str
    options: dict[str, Any] = field(default_factory=dict)
    words: bytes = b""

    def encoded(self, colour: np.ndarray) -> bytes:
        """The file with other pixels: ``(C, H, W)`` like :attr:`colour`."""
        planes = colour if self.alpha is None else np.concatenate([colour, self.alpha[None]])
        pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if colour.dtype == np.uint16 and len(planes) > 1:
            content = _deep_png(pixels) if self.format == "PNG" else _deep_tiff(pixels, **self.options)
        else:
            content = self._saved(pixels)
        return _with_words(content, self.words) if self.words else content

    def _saved(self, pixels: np.ndarray) -> bytes:
        options = dict(self.options)
        if self.mode == "P":
            image, opacity = with_palette(pixels[..., :3], self.alpha)
            if opacity is not None:
                options["transparency"] = opacity
        elif self.mode == "1":
            image = Image.fromarray(pixels[..., 0] >= 128)
        elif pixels.dtype == np.uint16:
            image = Image.fromarray(pixels[..., 0].astype(">u2") if self.mode == "I;16B" else pixels[..., 0])
        else:
            image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        target = BytesIO()
        image.save(target, self.format, **options)
        return target.getvalue()


def read_picture(content: bytes) -> Picture:
    """The picture in the bytes of a PNG, JPEG, TIFF or BMP.

    Raises:
        ValueError: it is one that would not survive: several pages, floats, CMYK, a transparent colour.
        Exception: whatever the decoder raises on broken bytes.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        kind, mode = "JPEG" if opened.format == "MPO" else str(opened.format), opened.mode
        if kind != "JPEG" and (pages := getattr(opened, "n_frames", 1)) > 1:
            raise ValueError(f"it holds {pages} pages; save each in a file of its own")
        if mode not in {*_GREY, "P", "RGB", "RGBA"} or (mode == "I" and kind != "PNG"):
            raise ValueError(f"its pixels are {mode}; save it as grey or RGB of 8 or 16 bits")
        if mode != "P" and "transparency" in opened.info:
            raise ValueError("a colour of it stands for transparency; save it with an alpha channel")
        deep = _deep(opened, content)
        options = _options(opened)  # before it is loaded: Pillow forgets a TIFF's orientation then
        words = _words(content) if kind == "PNG" else b""
        if deep and mode in ("RGB", "RGBA", "LA"):
            pixels = _upright(options.get("tiffinfo", {}).get(_ORIENTATION))(_deep_decoded(content, mode))
        else:
            upright = load_turned(opened)
            pixels = upright(_pixels(opened))
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    colours = 1 if mode in _GREY else 3
    alpha = planes[colours] if len(planes) > colours else None
    return Picture(planes[:colours], alpha, kind, mode, options, words)


def load_turned(opened: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Load a file that was opened; gives what puts ``(H, W, ...)`` as it lies in the file, for Pillow turns a TIFF."""
    if not isinstance(opened, TiffImagePlugin.TiffImageFile):
        opened.load()
        return _upright(None)
    asked = opened.getexif().get(_ORIENTATION)
    opened.load()
    return _upright(None if opened.getexif().get(_ORIENTATION) == asked else asked)


@contextmanager
def any_size() -> Iterator[None]:
    """Without Pillow's limit of 179 million pixels, which is there for files of strangers."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def picture_size(content: bytes) -> tuple[int, int]:
    """``(H, W)`` by the header alone. Raises what :func:`read_picture` does."""
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        return opened.height, opened.width


def _upright(orientation: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """What undoes the turn that a TIFF's orientation asks for."""
    return _UPRIGHT.get(orientation or 1, lambda pixels: pixels)


def _pixels(image: Image.Image) -> np.ndarray:
    """``(H, W, C)`` uint8 or uint16."""
    if image.mode == "P":
        pixels = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    elif image.mode == "1":
        pixels = np.asarray(image.convert("L"))
    else:
        pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint16)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _deep(opened: Image.Image, content: bytes) -> bool:
    """Whether it has 16 bits a channel; refuses depths that Pillow would change."""
    if opened.format == "PNG":
        depth, colour = content[24], content[25]
        if depth in (2, 4) and colour == 0:
            raise ValueError(f"grey of {depth} bits; save it with 8")
        return depth == 16
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        return _deep_in_tiff(opened.tag_v2, opened.mode)
    if opened.format == "BMP" and opened.mode == "RGBA":
        raise ValueError("a BMP with alpha; save it as PNG")
    return False


def _deep_in_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2, mode: str) -> bool:
    depths = set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if mode != "P" and not (depths in ({8}, {16}) or mode == "1"):
        raise ValueError(f"its channels are of {', '.join(map(str, sorted(depths)))} bits; save it with 8 or 16")
    if tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) != _CHANNELS.get(mode, 1):
        raise ValueError("it has channels beside colour and alpha; save it as grey or RGB")
    if depths != {16}:
        return False
    if mode in ("I;16", "I;16B") and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        raise ValueError("16-bit grey whose 0 is white; save it with 0 for black")
    if mode == "RGBA" and tags.get(TiffImagePlugin.EXTRASAMPLES) == (1,):
        raise ValueError("16-bit colour that is multiplied with its alpha; save it unmultiplied")
    return True


def _options(opened: Image.Image) -> dict[str, Any]:
    info, kept = opened.info, ("icc_profile", "exif", "xmp", "dpi", "comment")
    if isinstance(opened, JpegImagePlugin.JpegImageFile):
        return {
            "qtables": opened.quantization,
            "subsampling": JpegImagePlugin.get_sampling(opened),
            "progressive": bool(info.get("progressive")),
            **{name: info[name] for name in kept if info.get(name)},
        }
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        words = TiffImagePlugin.ImageFileDirectory_v2()
        for tag in _TIFF_WORDS:
            if tag in opened.tag_v2:
                value = opened.tag_v2[tag]  # text as the bytes it was: Pillow would write other letters as "?"
                words[tag] = value.encode("latin-1") if isinstance(value, str) else value
        for tag, kind in _TIFF_BYTES.items():
            if tag in opened.tag_v2:
                words[tag], words.tagtype[tag] = _bytes(opened.tag_v2, tag), kind
        compression = info.get("compression")
        return {"tiffinfo": words, "compression": None if compression == "raw" else compression}
    return {"dpi": info["dpi"]} if opened.format == "BMP" and "dpi" in info else {}


def _deep_decoded(content: bytes, mode: str) -> np.ndarray:
    """16-bit colour as ``(H, W, C)`` uint16: red, green, blue, alpha."""
    if mode == "LA":
        raise ValueError("16-bit grey with alpha; save it as 16-bit RGBA")
    import cv2

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[-1] != len(mode):
        raise ValueError("16-bit colour that OpenCV does not read; save it as a plain 16-bit PNG")
    order = cv2.COLOR_BGR2RGB if mode == "RGB" else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(pixels, order))


def _deep_png(pixels: np.ndarray) -> bytes:
    import cv2

    order = cv2.COLOR_RGB2BGR if pixels.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA
    done, content = cv2.imencode(".png", cv2.cvtColor(pixels, order))
    if not done:
        raise ValueError("OpenCV does not write 16-bit colour as PNG")
    return bytes(content)


def _deep_tiff(pixels: np.ndarray, tiffinfo: TiffImagePlugin.ImageFileDirectory_v2, compression: str | None) -> bytes:
    """One strip behind the tags, deflated where the file was compressed: OpenCV writes neither profile nor rotation."""
    height, width, channels = pixels.shape
    strip = pixels.astype("<u2").tobytes()
    if compression is not None:
        strip = zlib.compress(strip)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tiffinfo.items():
        tags[tag] = value
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = width, height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    tags[TiffImagePlugin.COMPRESSION] = 1 if compression is None else 8
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    if channels == 4:
        tags[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha that colours are not multiplied with
    tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # of what follows the tags
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    target = BytesIO()
    tags.save(target)
    return target.getvalue() + strip


def _bytes(words: TiffImagePlugin.ImageFileDirectory_v2, tag: int) -> bytes:
    """What a tag holds, whether a program wrote it as bytes, as text or, IPTC often, as 32-bit numbers."""
    value = words[tag]
    values = value if isinstance(value, tuple) else (value,)
    if isinstance(values[0], int):
        return struct.pack(f"{'>' if words.prefix == b'MM' else '<'}{len(values)}L", *values)
    return b"".join(part.encode("latin-1") if isinstance(part, str) else part for part in values)


def _words(content: bytes) -> bytes:
    """The chunks of a PNG that describe it: profile, resolution, EXIF, text.

    Pillow overlooks a damaged one behind the pixels; before them it would spoil the file.
    """
    found, place = b"", len(_PNG)
    while place + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if name in _PNG_WORDS and content[end - 4 : end] == struct.pack(">I", zlib.crc32(content[place + 4 : end - 4])):
            found += content[place:end]
        place = end
    return found


def _with_words(content: bytes, words: bytes) -> bytes:
    """A PNG with those chunks right behind its header, where all of them may stand."""
    header = len(_PNG) + 25
    return content[:header] + words + content[header:]
