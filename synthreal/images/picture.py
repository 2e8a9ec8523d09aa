"""Image files: their pixels as arrays, and files of the same format with other pixels.

The content decides what a file is, not its name. :func:`read_pixels` reads PNG, JPEG, TIFF, BMP, WebP, PPM, PGM, PBM
and GIF files of one picture for data sets, :func:`read_picture` those that can be written back. Both refuse files whose
values the decoders (Pillow, and OpenCV for 16-bit colour, which Pillow reduces to 8 bits) would get wrong, and files
whose header promises more pixels than their bytes can hold.

A rewritten file keeps the format and the size of the original, its bit depth of 8 or 16, its alpha channel, the quality
and chroma subsampling of a JPEG, the compression of a TIFF, the colour profile, resolution, EXIF, XMP and text.
Palettes become true colour, because a refined image has more than 256 colours; WebP becomes lossless, because a file
does not tell its quality.

Pixels are those stored in the file. An orientation that EXIF or a TIFF tag requests is not applied, but preserved: a
rotated eye has another gaze. Decoders see neither metadata nor further pages, so damage there does no harm.

A phone's JPEG may hold further images after the first, such as a preview or a gain map. They describe the old pixels,
so the result is a JPEG of the first image alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from synthreal.errors import one_line
from synthreal.images import jpeg, png, pnm
from synthreal.images.colour_16 import png_16, read_colour_16
from synthreal.images.tiff import SEVERAL_PAGES, TiffTags, encode_16

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM", "GIF")
_INFO = ("icc_profile", "exif", "xmp")
_GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_MAX_PIXELS = 1 << 30
_ALWAYS_PLAUSIBLE = 1 << 26  # samples, which take 64 MiB
_ALWAYS_ALLOWED = 1 << 28  # of compressions that store a blank picture of any size in a few bytes
_SAMPLES_PER_BYTE = 1 << 12  # of 8 bits; deflate reaches 1032, LZW 2558
_BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Picture:
    """The pixels of an image file and the metadata for writing a file like it.

    Attributes:
        colour: ``(1, H, W)`` for grey or ``(3, H, W)`` for red, green, blue; uint8 or uint16.
        alpha: ``(H, W)`` of the same dtype, or None.
        bilevel: whether the file has one bit per pixel.
        options: arguments of Pillow's ``save``.
        metadata: the metadata chunks of a PNG, or segments of a JPEG.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    format: str
    bilevel: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    metadata: bytes = b""

    @property
    def visible(self) -> np.ndarray:
        """:attr:`colour`, black where the picture is fully transparent."""
        return self.colour if self.alpha is None else self.colour * (self.alpha > 0)

    def encoded(self, colour: np.ndarray) -> bytes:
        """The file with other pixels: ``(C, H, W)`` of the shape and dtype of :attr:`colour`."""
        planes = colour if self.alpha is None else np.concatenate([colour, self.alpha[None]])
        pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if colour.dtype == np.uint16 and len(planes) > 1:
            content = png_16(pixels) if self.format == "PNG" else encode_16(pixels, **self.options)
        else:
            pixels = pixels[..., 0] if len(planes) == 1 else pixels
            image = Image.fromarray(pixels >= 128 if self.bilevel else pixels)
            target = BytesIO()
            image.save(target, self.format, **self.options)
            content = target.getvalue()
        start = jpeg.metadata_start(content) if self.format == "JPEG" else png.HEADER_END
        return content[:start] + self.metadata + content[start:]


@dataclass(frozen=True)
class PictureInfo:
    """What :func:`read_pixels` gives for the first picture of a file, from its header.

    Attributes:
        height: rows of the picture as stored, in px.
        width: columns of the picture as stored, in px.
        is_grey: whether it has no colour.
        is_16_bit: whether a sample has 16 bits, else 8.
        has_further_pictures: whether pictures follow the first.
    """

    height: int
    width: int
    is_grey: bool
    is_16_bit: bool
    has_further_pictures: bool


def read_pixels(content: bytes, *, first: bool = False) -> np.ndarray:
    """The pixels ``(C, H, W)`` of an image file as stored, uint16 if it has 16 bits (except a PPM), else uint8.

    Palettes, CMYK and YCbCr become RGB, bits become grey, and a colour that stands for transparency becomes alpha.
    Of several pictures, such as an animation or pages, ``first`` gives the first. Without it they, and always a file
    whose values would come out wrong, raise ``ValueError``; decoders raise anything on broken bytes.
    """
    with _opened(content, first=first) as opened:
        return _planes(opened, content)


def read_info(content: bytes) -> PictureInfo:
    """Describe the first picture of an image file without decoding it. Raises what :func:`read_pixels` raises."""
    with _opened(content, first=True) as opened:
        tags = TiffTags(content) if opened.format == "TIFF" else None
        is_grey = opened.mode in ("1", "L", "LA", "La", *_GREY_16)
        return PictureInfo(
            height=opened.height,
            width=opened.width,
            is_grey=is_grey or (opened.format == "PNG" and png.is_grey_with_alpha(content)),
            is_16_bit=opened.mode in _GREY_16 or _depth(opened, content, tags) == 16,
            has_further_pictures=_further_pictures(opened, content, tags) is not None,
        )


def read_picture(content: bytes) -> Picture:
    """The picture in the bytes of an image file; ``ValueError`` if it could not be written back correctly.

    Decoders raise anything on broken bytes.
    """
    with _opened(content) as opened:
        kind = str(opened.format)
        _refuse_unwritable(opened, content)
        options = _save_options(opened, content)
        metadata = {"PNG": png.metadata, "JPEG": jpeg.metadata}.get(kind, lambda _: b"")(content)
        mode, planes = opened.mode, _planes(opened, content)
    colours = 1 if len(planes) < 3 else 3
    alpha = planes[colours] if len(planes) > colours else None
    if alpha is not None and kind == "BMP":
        raise ValueError("a BMP with alpha; save it as PNG")
    return Picture(planes[:colours], alpha, kind, mode == "1", options, metadata)


@contextmanager
def any_size() -> Iterator[None]:
    """Lift Pillow's limit of 179 million pixels. That of :func:`read_picture` remains, which depends on the file."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def picture_size(content: bytes) -> tuple[int, int]:
    """``(H, W)`` from the header alone. Raises what :func:`read_picture` raises."""
    with _opened(content) as opened:
        return opened.height, opened.width


def picture_problem(error: Exception) -> str:
    """The problem with an image file that could not be read or written, as one line."""
    if isinstance(error, UnidentifiedImageError):  # its message contains a memory address
        return f"not a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    return one_line(error) or type(error).__name__


def _opened(content: bytes, *, first: bool = False) -> Image.Image:
    """The file opened by Pillow, without metadata. Raises ``ValueError`` for what decoders would get wrong.

    Several pictures are refused unless the ``first`` is wanted, which is the one that Pillow opens.
    """
    tags, whole = None, content
    if content.startswith(png.SIGNATURE):
        content = png.pixel_chunks(content)
    elif content.startswith(b"\xff\xd8\xff"):
        jpeg.refuse_damaged(content)
        content = jpeg.pixel_segments(content)
    elif content[:4] in TiffImagePlugin.PREFIXES:
        tags = TiffTags(content)
        tags.refuse_unsupported()
        content = tags.pixel_content()
    try:
        opened = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if tags is None:
            raise
        raise ValueError("a kind of TIFF that Pillow does not read; save it as grey or RGB of 8 or 16 bits") from None
    _refuse_implausible_size(opened, content, tags)
    if not first and (further := _further_pictures(opened, whole, tags)) is not None:
        raise ValueError(further)
    plain_inks = opened.format == "JPEG" and "adobe" not in opened.info  # Pillow takes all of a JPEG for inverted
    if opened.mode in ("F", "LAB") or (opened.mode == "CMYK" and plain_inks):
        raise ValueError(f"its pixels are {opened.mode}; save it as grey or RGB of 8 or 16 bits")
    return opened


def _further_pictures(opened: Image.Image, content: bytes, tags: TiffTags | None) -> str | None:
    """The message about pictures that follow the first of a file; None if there are none."""
    if opened.format == "PNG" and (frames := png.frames(content)) > 1:
        return f"an animation of {frames} pictures; save each in a file of its own"
    if opened.format in ("GIF", "WEBP") and getattr(opened, "is_animated", False):
        return "an animation; save each of its pictures in a file of its own"
    if opened.format == "PPM" and pnm.has_further_pictures(content):
        return "it holds several pictures; save each in a file of its own"
    return SEVERAL_PAGES if tags is not None and tags.has_further_pages() else None


def _refuse_implausible_size(opened: Image.Image, content: bytes, tags: TiffTags | None) -> None:
    """Raise ``ValueError`` before memory is reserved for pixels that a file of so many bytes cannot hold."""
    size, length = f"{opened.width}x{opened.height} pixels", len(content)
    pixels = max(opened.width * opened.height, tags.tile[0] * tags.tile[1] if tags else 0)
    samples = pixels * len(opened.getbands())
    plausible = length * _SAMPLES_PER_BYTE * _BITS_PER_BYTE // _depth(opened, content, tags)
    limited = tags.limited if tags else opened.format != "WEBP"
    if limited and samples > max(_ALWAYS_PLAUSIBLE, plausible):
        raise ValueError(f"damaged: its {length} bytes cannot hold {size}")
    if samples > max(_ALWAYS_ALLOWED, plausible):
        raise ValueError(f"its {length} bytes may not hold {size}; save it with deflate or as PNG")
    if pixels > _MAX_PIXELS:
        raise ValueError(f"{size} are more than {_MAX_PIXELS}; cut it into parts")


def _depth(opened: Image.Image, content: bytes, tags: TiffTags | None) -> int:
    """Stored bits per sample of a PNG or TIFF; else 8."""
    return png.depth(content) if opened.format == "PNG" else max(tags.bits) if tags else 8


def _planes(opened: Image.Image, content: bytes) -> np.ndarray:
    """The pixels ``(C, H, W)`` of an opened file."""
    mode, is_png = opened.mode, opened.format == "PNG"
    tags = TiffTags(content) if opened.format == "TIFF" else None
    if _depth(opened, content, tags) == 16 and mode not in _GREY_16:
        planes = read_colour_16(opened)
        planes = planes[[0, -1]] if is_png and png.is_grey_with_alpha(content) else planes
    elif mode in _GREY_16:
        planes = np.asarray(opened).astype(np.uint16)[None]
        planes = 65535 - planes if tags and tags.white_is_zero else planes
    else:
        other = "L" if mode == "1" else "LA" if mode == "La" else "RGBA" if _has_alpha(opened) else "RGB"
        pixels = np.asarray(opened if mode in ("L", "LA", "RGB", "RGBA") else opened.convert(other))
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if tags:
        tags.refuse_unscaled(planes)
    if opened.format == "BMP" and len(planes) == 4 and not planes[3].any():
        planes = planes[:3]  # bytes that are not alpha, whatever the header says
    if is_png:
        if png.has_unscaled_samples(content, planes):
            raise ValueError("its samples lie in their low bits (sBIT), which makes it dark; scale them to all bits")
        if (colour := png.transparent_colour(content)) is not None:
            alpha = (planes != colour[:, None, None]).any(0, keepdims=True) * np.iinfo(planes.dtype).max
            planes = np.concatenate([planes, alpha.astype(planes.dtype)])
    return np.ascontiguousarray(planes)


def _has_alpha(opened: Image.Image) -> bool:
    return opened.mode == "PA" or "transparency" in opened.info


def _refuse_unwritable(opened: Image.Image, content: bytes) -> None:
    """Raise ``ValueError`` for a file that :func:`read_pixels` reads, but that could not be written back like it."""
    mode = opened.mode
    if opened.format == "GIF":
        raise ValueError("a GIF holds at most 256 colours; save it as PNG")
    if mode not in {"1", "L", "LA", "P", "RGB", "RGBA", *_GREY_16}:
        raise ValueError(f"its pixels are {mode}; save it as grey or RGB of 8 or 16 bits")
    if opened.format == "PNG" and png.transparent_colour(content) is not None:
        raise ValueError("a colour of it stands for transparency; save it with an alpha channel")
    if opened.format == "PNG" and png.is_grey_with_alpha(content) and png.depth(content) == 16:
        raise ValueError("16-bit grey with alpha; save it as RGB with alpha")
    if opened.format == "PPM" and (mode != "1" and pnm.largest_value(content) != (65535 if mode in _GREY_16 else 255)):
        raise ValueError("its largest value is neither 255 nor, in grey, 65535; save it as PNG")


def _save_options(opened: Image.Image, content: bytes) -> dict[str, Any]:
    """The arguments with which Pillow writes the metadata of an opened file, apart from chunks and segments."""
    dpi = {"dpi": opened.info["dpi"]} if "dpi" in opened.info else {}
    if isinstance(opened, JpegImagePlugin.JpegImageFile):
        quality = {"subsampling": JpegImagePlugin.get_sampling(opened), "progressive": "progressive" in opened.info}
        return {"qtables": opened.quantization, **quality, **dpi}
    if opened.format == "TIFF":
        compression = opened.info.get("compression")
        return {
            "tiffinfo": TiffTags(content).metadata(),
            "compression": None if compression == "raw" else compression,
        }
    if opened.format == "WEBP":
        info = {name: opened.info[name] for name in _INFO if opened.info.get(name)}
        return {"lossless": True, "exact": True, **info}  # exact: with the colours of transparent pixels
    return dpi if opened.format == "BMP" else {}
