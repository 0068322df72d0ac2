"""Compressed pixels from strangers: how large they will be is known, and allowed, before anything is unpacked."""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

from stainstream.errors import MissingExtra, WireError

__all__ = ["ENCODINGS", "complete_jpeg", "compress", "expand", "jpeg_shape", "require"]

Buffer: TypeAlias = bytes | bytearray | memoryview

ENCODINGS = ("lz4", "zstd", "jpeg")
"""``lz4``: one LZ4 block, without a frame. ``zstd``: one Zstandard frame that says its size. ``jpeg``: JFIF."""

_MODULES = {"lz4": "lz4.block", "zstd": "zstandard", "jpeg": "simplejpeg"}
_LZ4_RATIO = 255  # more, a block of LZ4 cannot hold
_LEVEL = 1
_SMALLEST_WINDOW = 20
_SCANS = 64  # each costs as much time as the whole image; encoders make about ten

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TAIL = 256  # bytes at the end in which the image must end: some encoders pad with zeros


def require(encoding: str) -> Any:
    """The library for an encoding.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    try:
        return importlib.import_module(_MODULES[encoding])
    except ImportError as error:
        raise MissingExtra(
            f"cannot use encoding {encoding!r}", _MODULES[encoding].partition(".")[0], "compress"
        ) from error


def compress(pixels: memoryview, encoding: str, shape: Sequence[int], quality: int = 90) -> bytes:
    """Compress an image.

    Parameters
    ----------
    pixels
        Its bytes in C order.
    shape
        ``(height, width)`` or ``(height, width, 3)``; JPEG takes them for gray and RGB, of 8 bits.
    quality
        Of a JPEG, 1 to 100. Its colors keep the full resolution (4:4:4): stains have sharp edges between them.
    """
    library = require(encoding)
    if encoding == "lz4":
        return bytes(library.compress(pixels, store_size=False))
    if encoding == "zstd":
        return bytes(library.ZstdCompressor(level=_LEVEL).compress(pixels))
    height, width, channels = (*shape, 1)[:3]
    image = pixels.cast("B", (height, width, channels))
    return bytes(library.encode_jpeg(image, quality, "GRAY" if channels == 1 else "RGB", "444"))


def expand(payload: Buffer, encoding: str, shape: Sequence[int], itemsize: int, limit: int) -> memoryview:
    """The bytes of an image that was compressed.

    Parameters
    ----------
    shape, itemsize
        What the header says of it: positive integers, however large.
    limit
        How many bytes it may have.

    Raises
    ------
    WireError
        If it is too large, damaged, or of another size than said; or if the library is missing.
    """
    if encoding not in ENCODINGS:
        raise WireError("unsupported encoding", f"it is {encoding!r:.40}; known are {', '.join(ENCODINGS)}")
    size = math.prod(shape) * itemsize
    if size > limit:
        raise WireError("large frame", f"{list(shape)} of {itemsize} bytes takes {size} bytes, {limit} are allowed")
    try:
        library = require(encoding)
    except MissingExtra as error:
        raise WireError("unsupported encoding", str(error)) from error
    unpack = {"lz4": _lz4, "zstd": _zstd, "jpeg": _jpeg}[encoding]
    try:
        return memoryview(unpack(library, payload, tuple(shape), size)).cast("B")
    except WireError:
        raise
    except (ValueError, OverflowError, MemoryError, RuntimeError) as error:
        raise WireError(f"corrupt {encoding.replace('jpeg', 'JPEG')}", str(error)) from error


def _lz4(library: Any, payload: Buffer, shape: tuple[int, ...], size: int) -> Any:
    if size > _LZ4_RATIO * len(payload):
        raise WireError("short payload", f"{len(payload)} bytes of LZ4 cannot hold {size}")
    try:
        unpacked = library.decompress(payload, uncompressed_size=size)
    except library.LZ4BlockError as error:
        raise WireError("corrupt lz4", str(error)) from error
    if len(unpacked) != size:
        raise WireError("short payload", f"it holds {len(unpacked)} bytes, {list(shape)} takes {size}")
    return unpacked


def _zstd(library: Any, payload: Buffer, shape: tuple[int, ...], size: int) -> Any:
    window = 1 << max(_SMALLEST_WINDOW, size.bit_length())
    try:
        held = library.get_frame_parameters(payload).content_size
        if held != size:
            cause = "short payload" if held < size else "long payload"
            raise WireError(cause, f"it says it holds {held} bytes, {list(shape)} takes {size}")
        unpacked = library.ZstdDecompressor(max_window_size=window).decompress(payload, max_output_size=size)
    except library.ZstdError as error:
        raise WireError("corrupt zstd", str(error)) from error
    return unpacked


def _jpeg(library: Any, payload: Buffer, shape: tuple[int, ...], size: int) -> Any:
    held = jpeg_shape(payload)
    if held[: len(shape)] != shape or held[2] not in (1, 3) or (held[2] == 1) != (len(shape) == 2):
        raise WireError("pixels do not fit", f"it holds {held}, the header says {shape}")
    if size > 0 and not complete_jpeg(payload):
        raise WireError("corrupt JPEG", "its end is missing")
    try:
        return library.decode_jpeg(payload, "GRAY" if held[2] == 1 else "RGB").data
    except ValueError as error:
        raise WireError("corrupt JPEG", str(error)) from error


def complete_jpeg(data: Buffer) -> bool:
    """Whether a JPEG has an end, and no more scans than an encoder would make."""
    view = memoryview(data)
    return bytes(view[-_TAIL:]).rstrip(b"\0").endswith(_EOI) and bytes(view).count(b"\xff\xda") <= _SCANS


def jpeg_shape(data: Buffer) -> tuple[int, int, int]:
    """Height, width and number of components, from a JPEG's frame header (SOF).

    Source: ITU-T T.81, B.2.

    Raises
    ------
    WireError
        If there is none where one must be.
    """
    view = memoryview(data)
    if view[:2] != _SOI:
        raise WireError("corrupt JPEG", "it does not begin as one")
    at = 2
    try:
        while True:
            fill, marker, length = struct.unpack_from(">BBH", view, at)
            if fill != 0xFF or marker == _SOS or length < 2:
                raise WireError("corrupt JPEG", "its size is not where it must be")
            if marker in _SOF:
                _, height, width, components = struct.unpack_from(">BHHB", view, at + 4)
                return height, width, components
            # A marker may be preceded by any number of fill bytes.
            at += 1 if marker == 0xFF else 2 + length
    except struct.error as error:
        raise WireError("corrupt JPEG", "it ends before its size is said") from error
