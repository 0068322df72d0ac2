"""CBOR from strangers: maps, and arrays of numbers in them.

Source: RFC 8949 (CBOR), RFC 8746 (typed arrays), https://github.com/dectris/documentation (tag 56500).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cbor2
import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError

from .base import Buffer
from .parts import HEADER_BYTES, Shape, checked, pixels

__all__ = ["plain", "read_array", "read_map", "write_array"]

_ROWS, _COLUMNS, _COMPRESSED = 40, 1040, 56500
_UNSIGNED = ("u1", ">u2", ">u4", ">u8", "u1", "<u2", "<u4", "<u8")
_SIGNED = ("i1", ">i2", ">i4", ">i8", "", "<i2", "<i4", "<i8")  # 76 is not assigned
_FLOATS = (">f2", ">f4", ">f8", ">f16", "<f2", "<f4", "<f8", "<f16")
_TYPES = dict(enumerate((*_UNSIGNED, *_SIGNED, *_FLOATS), 64))
_READ = ("u1", ">u2", "<u2")
_BYTES, _TEXT = 2, 3
_DEPTH = 32


def _inert(value: Any, immutable: bool) -> Any:  # noqa: ARG001 - cbor2 prescribes it
    return value


# What cbor2 would make numbers without bounds, regular expressions, references, mail and more of: left as they stand.
_INERT: dict[int, Callable[[Any, bool], Any]] = dict.fromkeys(
    (*range(6), 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799), _inert
)


def read_map(part: Buffer) -> dict[str, Any]:
    """Read a CBOR map; tags within are left as `cbor2.CBORTag`, or left out where they only explain a value.

    Raises
    ------
    WireError
        If it is none, or has more than `HEADER_BYTES` beside its byte strings.
    """
    view = memoryview(part)
    if (beside := _skimmed(view)) > HEADER_BYTES:
        raise WireError("large header", f"it has {beside} bytes beside its byte strings, {HEADER_BYTES} are allowed")
    try:
        value = cbor2.loads(view, semantic_decoders=_INERT, max_depth=_DEPTH, strict_hashable_types=True)
    except cbor2.CBORDecodeError as error:
        raise WireError("message is not a CBOR map", str(error)) from error
    if not isinstance(value, dict):
        raise WireError("message is not a CBOR map", f"it is a {type(value).__name__}")
    return {key: each for key, each in value.items() if isinstance(key, str)}


def _skimmed(view: memoryview) -> int:
    """How many bytes stand beside the byte strings, from the heads alone; of a small part, all.

    One byte can stand for an object of a hundred, so a large message must not consist of them.
    """
    if (size := len(view)) <= HEADER_BYTES:
        return size
    at = beside = 0
    while at < size and beside <= HEADER_BYTES:
        kind, length = view[at] >> 5, view[at] & 31
        at, beside = at + 1, beside + 1
        if 24 <= length <= 27:
            width = 1 << length - 24
            length = int.from_bytes(view[at : at + width], "big")
            at, beside = at + width, beside + width
        elif length > 27:
            continue  # the beginning or the end of something of indefinite length; or an error, which is found later
        if kind in (_BYTES, _TEXT):
            at += length
            beside += length if kind == _TEXT else 0
    return beside


def plain(value: Any, depth: int = 8) -> Any:
    """What JSON can say of a value; None in place of all else."""
    if isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else None
    if depth and isinstance(value, list | tuple):
        return [plain(each, depth - 1) for each in value]
    if depth and isinstance(value, dict):
        return {key: plain(each, depth - 1) for key, each in value.items() if isinstance(key, str)}
    return None


def write_array(image: NDArray[Any]) -> cbor2.CBORTag:
    """An image of uint8 or uint16 as a multi-dimensional typed array."""
    image = np.ascontiguousarray(image)
    tag = next(tag for tag, name in _TYPES.items() if name and np.dtype(name) == image.dtype)
    return cbor2.CBORTag(_ROWS, [list(image.shape), cbor2.CBORTag(tag, image.tobytes())])


class _Dimensions(msgspec.Struct):
    dimensions: Shape


def read_array(array: Any, limit: int) -> NDArray[Any]:
    """The image of uint8 or uint16 in a multi-dimensional typed array (tag 40, 1040), which may be compressed.

    Parameters
    ----------
    limit
        How many bytes it may have.

    Raises
    ------
    WireError
        If it is none, or of another type or size.
    """
    match array:
        case cbor2.CBORTag(tag=40 | 1040, value=(dimensions, cbor2.CBORTag() as typed)):
            pass
        case _:
            raise WireError("wrong header", "a channel is no multi-dimensional array (tag 40 or 1040)")
    name = _TYPES.get(typed.tag) or f"tag {typed.tag}"
    if name not in _READ:
        raise WireError("unsupported type", f"it is {name}, neither uint8 nor uint16")
    dtype = np.dtype(name)
    shape = checked({"dimensions": dimensions}, _Dimensions).dimensions
    shape = shape if array.tag == _ROWS else shape[::-1]
    payload = typed.value
    if isinstance(payload, cbor2.CBORTag):
        payload = _decompressed(payload, math.prod(shape) * dtype.itemsize, limit)
    if not isinstance(payload, bytes):
        raise WireError("wrong header", "a typed array must be of bytes")
    image = pixels(payload, dtype, shape, limit)
    return image if array.tag == _ROWS else image.T


def _decompressed(tag: cbor2.CBORTag, size: int, limit: int) -> bytes:
    """What a compressed byte string holds, which must be of `size`."""
    match tag.value:
        case (("lz4" | "bslz4") as algorithm, int(width), bytes(packed)) if tag.tag == _COMPRESSED:
            pass
        case (str(algorithm), _, bytes()) if tag.tag == _COMPRESSED and algorithm not in ("lz4", "bslz4"):
            raise WireError("unsupported encoding", f"it is {algorithm!r:.40}, neither 'lz4' nor 'bslz4'")
        case _:
            raise WireError("wrong header", f"tag {tag.tag} holds no compressed bytes")
    claimed = int.from_bytes(packed[:8], "big")  # both HDF5 framings begin with it
    if max(size, claimed) > limit:
        raise WireError("large frame", f"it takes {max(size, claimed)} bytes, {limit} are allowed")
    if claimed != size:
        cause = "short payload" if claimed < size else "long payload"
        raise WireError(cause, f"it holds {claimed} bytes, its dimensions take {size}")
    try:
        from dectris.compression import decompress
    except ImportError as error:
        cure = "run: pip install 'stainstream[dectris]'"
        raise WireError("unsupported encoding", f"{algorithm} needs the module dectris.compression; {cure}") from error
    try:
        unpacked: bytes = decompress(packed, algorithm, elem_size=width)
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise WireError(f"corrupt {algorithm}", str(error)) from error
    return unpacked
