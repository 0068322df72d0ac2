"""The parts of a message: JSON headers and raw pixels, read with distrust."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError, WireError
from stainstream.frame import Frame, PixelFormat

from .base import Buffer

__all__ = [
    "HEADER_BYTES",
    "Shape",
    "checked",
    "frame_of",
    "pair",
    "pixel_format",
    "pixels",
    "raw",
    "read_header",
    "write_header",
]

HEADER_BYTES = 64 << 10
"""How many bytes a header may have, in both directions."""

Extent: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Shape: TypeAlias = Annotated[tuple[Extent, ...], msgspec.Meta(min_length=2, max_length=3)]
"""An image's shape in a header's struct; true, 1.0 and "1" are no integers."""

Known = TypeVar("Known", bound=msgspec.Struct)

_DECODER = msgspec.json.Decoder(dict[str, Any])


def pair(parts: Sequence[Buffer]) -> tuple[Buffer, Buffer]:
    """Header and payload of a message of two parts.

    Raises
    ------
    WireError
        If there are more or fewer.
    """
    if len(parts) != 2:
        raise WireError("wrong number of parts", f"it has {len(parts)} instead of 2")
    return parts[0], parts[1]


def read_header(part: Buffer) -> dict[str, Any]:
    """Read a JSON object of at most `HEADER_BYTES`.

    Raises
    ------
    WireError
        If it is larger, or is no JSON object.
    """
    if len(part) > HEADER_BYTES:
        raise WireError("large header", f"it has {len(part)} bytes, {HEADER_BYTES} are allowed")
    try:
        return _DECODER.decode(part)
    except (ValueError, RecursionError) as error:  # msgspec's own errors and UnicodeDecodeError are ValueErrors
        raise WireError("header is not a JSON object", str(error)) from error


def checked(header: Mapping[str, Any], kind: type[Known]) -> Known:
    """The fields of a header that `kind` knows; others are left aside.

    Raises
    ------
    WireError
        Naming the field that is missing, or of a wrong type.
    """
    try:
        return msgspec.convert(header, kind)
    except msgspec.ValidationError as error:
        raise WireError("wrong header", str(error)) from error


def pixels(payload: Buffer, dtype: np.dtype[Any], shape: tuple[int, ...], limit: int) -> NDArray[Any]:
    """View a payload as an array of this host's byte order; 16-bit words that are foreign or at odd places are copied.

    Parameters
    ----------
    shape
        Positive integers, however large.
    limit
        How many bytes are allowed.

    Raises
    ------
    WireError
        If the image is too large, or the payload is of another size.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise WireError("large frame", f"{dtype.name} {list(shape)} takes {size} bytes, {limit} are allowed")
    if len(payload) != size:
        cause = "short payload" if len(payload) < size else "long payload"
        raise WireError(cause, f"it has {len(payload)} bytes, {dtype.name} {list(shape)} takes {size}")
    view = np.frombuffer(payload, dtype).reshape(shape)
    return view if dtype.isnative and view.flags.aligned else view.astype(dtype.newbyteorder("="))


def pixel_format(name: str) -> PixelFormat:
    """The pixel format of a PFNC name.

    Raises
    ------
    WireError
        If it is not one that can be converted.
    """
    try:
        return PixelFormat(name)
    except ValueError as error:
        raise WireError("unknown pixel format", f"it is {name!r:.40}") from error


def frame_of(image: NDArray[Any], format: PixelFormat, seq: int, captured_ns: int, meta: Mapping[str, Any]) -> Frame:
    """Make a frame.

    Raises
    ------
    WireError
        If the image is not of this format.
    """
    try:
        return Frame(image, format, seq, captured_ns, meta)
    except FrameError as error:
        raise WireError("pixels do not fit", str(error)) from error


def write_header(structure: Mapping[str, Any], meta: Mapping[str, Any]) -> bytes:
    """Write a JSON header: what the format itself says, which wins over metadata of the same name, then the metadata.

    Raises
    ------
    WireError
        If the metadata cannot be JSON, or are too many.
    """
    try:
        written = msgspec.json.encode({**structure, **meta, **structure}, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("metadata cannot be JSON", str(error)) from error
    if len(written) > HEADER_BYTES:
        raise WireError("large header", f"it has {len(written)} bytes, {HEADER_BYTES} are allowed")
    return written


def raw(image: NDArray[Any]) -> memoryview:
    """The bytes of an image in C order: a view if they are stored so."""
    return np.ascontiguousarray(image).data.cast("B")


def _plain(value: object) -> object:
    """What stands in JSON for a NumPy scalar or array."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be JSON")
