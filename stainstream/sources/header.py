"""How large an image is, from the first bytes of its file."""

from __future__ import annotations

import re
import struct

__all__ = ["declared_size"]

_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's frame headers; the other three are tables and extensions
_MARKER = re.compile(rb"\xff+([^\xff\0])")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3
_BMP_CORE = 12  # bytes of the old header, with short sides


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG, JPEG, TIFF, BMP or WebP file declares, in pixels; None if it is none of these.

    OpenCV has no way to ask before it decodes, and a file of a few kilobytes can declare gigabytes.

    Source: PNG (ISO 15948) 11.2.2; JPEG (ITU T.81) B.2.2; TIFF 6.0 section 2; WebP (RFC 9649) 2.5 to 2.7; BMP as
    Microsoft's BITMAPINFOHEADER and BITMAPCOREHEADER.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith((b"II*\0", b"MM\0*")):
            return _tiff(data)
        if data.startswith(b"BM"):
            return _bmp(data)
        if re.match(rb"RIFF....WEBP", data, re.DOTALL):
            return _webp(data)
    except (struct.error, KeyError):
        return None  # it ends, or lacks a tag, before it says
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        (length,) = struct.unpack_from(">H", data, found.end())
        if found[1][0] in _SOF:
            height, width = struct.unpack_from(">HH", data, found.end() + 3)
            return width, height
        at = found.end() + length
    return None


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (tags[tag],) = struct.unpack_from(order + ("H" if kind == _TIFF_SHORT else "I"), data, entry + 8)
    return tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == _BMP_CORE else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height means that the top row comes first


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None
