"""The first bytes of picture files, which tell their format whatever their name."""

from __future__ import annotations

import re

LENGTH = 132  # bytes that are enough
_SIGNATURES = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM.{8}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF.{4}WEBP",
    "PNM": rb"P[4-6]\n[#\d]|P7\nWIDTH|P[Ff]\n\d",
    "HEIF": rb".{4}ftyp(hei|hev|mif1|msf1|avi[fs]|crx )",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "EXR": rb"\x76\x2f\x31\x01",
    "HDR": rb"#\?(RADIANCE|RGBE)",
    "PSD": rb"8BPS",
    "XCF": rb"gimp xcf",
    "DDS": rb"DDS \x7c",
    "Sun raster": rb"\x59\xa6\x6a\x95",
    "SGI": rb"\x01\xda[\0\x01][\x01\x02]",
    "QOI": rb"qoif",
    "FITS": rb"SIMPLE  =",
    "DICOM": rb".{128}DICM",
    "raw": rb"IIR[OS]|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM",
}
_PATTERNS = {name: re.compile(pattern, re.DOTALL) for name, pattern in _SIGNATURES.items()}


def picture_format(start: bytes) -> str | None:
    """The format of a picture file by its first :data:`LENGTH` bytes; None if it is no picture."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.match(start)), None)
