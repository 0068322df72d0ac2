"""A tile, or a frame, as a consumer gets it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stainstream.compression import compress, expand
from stainstream.errors import UsageError, WireError

__all__ = ["MAX_FRAME_BYTES", "Tile", "read", "written"]

MAX_FRAME_BYTES = 256 << 20
"""The largest image that a feed may send, unless told otherwise."""
_BYTES = {"uint8": 1, "uint16": 2}
_TYPES = {"B": "uint8", "H": "uint16"}
_AXES = (2, 3)
_EXTENT = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A tile, to be worked on: it counts as accepted when the next item is asked for."""

    series: str
    sequence: int
    """Its place in the series, from 0."""
    header: Mapping[str, Any]
    """What came with it: ``type``, ``shape``, ``pixel_format``, ``model`` and all metadata; see docs/wire.md."""
    payload: memoryview
    """Its pixels' bytes."""
    again: bool = False
    """Whether it was handed out before, but not accepted: the program ended while it worked on it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(height, width[, channels])``."""
        return tuple(self.header["shape"])

    @property
    def image(self) -> Any:
        """The pixels as a NumPy array, which needs NumPy."""
        import numpy as np

        order = ">" if self.header.get("endianness") == "big" else "<"
        return np.frombuffer(self.payload, np.dtype(self.header["type"]).newbyteorder(order)).reshape(self.shape)


def read(
    series: str, sequence: int, body: Sequence[memoryview], *, again: bool = False, limit: int = MAX_FRAME_BYTES
) -> Tile:
    """Read a message of format ``stainstream`` or ``array-1.0``.

    Parameters
    ----------
    limit
        How many bytes its image may have.

    Raises
    ------
    WireError
        If it is none.
    """
    try:
        header = json.loads(bytes(body[-2]))
        shape, width, encoding = header["shape"], _BYTES[header["type"]], header.get("encoding")
        sound = isinstance(shape, list) and len(shape) in _AXES and all(type(each) is int for each in shape)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise WireError("unreadable tile", f"its header cannot be used: {error!r:.80}") from error
    if not sound or not all(0 < each <= _EXTENT for each in shape):
        raise WireError("unreadable tile", f"its shape is {shape!r:.80}")
    payload = body[-1]
    if encoding:
        payload = expand(payload, str(encoding), shape, width, limit)
    if (size := math.prod(shape) * width) != len(payload):
        raise WireError("unreadable tile", f"{len(payload)} bytes are not {size}")
    return Tile(series, sequence, header, payload, again)


def written(
    pixels: Any,
    shape: Sequence[int] | None,
    dtype: str | None,
    pixel_format: str | None,
    encoding: str,
    meta: Mapping[str, Any],
) -> tuple[bytes, bytes, memoryview]:
    """A tile as a message of format ``stainstream``; parameters as `stainstream.feed.publisher.Series.send` has them.

    Raises
    ------
    UsageError
        If these are no pixels, or none that can be compressed so.
    """
    view = memoryview(pixels)
    extents = list(shape if shape is not None else view.shape or ())
    dtype = dtype or _TYPES.get(view.format, "uint8")
    width = _BYTES.get(dtype, 1)
    size = math.prod(extents) * width
    asked = f"cannot send {view.nbytes} bytes as {dtype} {extents}"
    if size != view.nbytes or not view.c_contiguous or len(extents) not in _AXES:
        raise UsageError(asked, f"that takes {size} in C order, 2 or 3 axes")
    flat = view.cast("B") if view.ndim != 1 or view.format != "B" else view
    kind = pixel_format or ("Mono" if len(extents) == 2 else "RGB") + str(8 * width)
    if encoding == "jpeg" and kind not in ("Mono8", "RGB8"):
        raise UsageError(asked, f"a JPEG is RGB8 or Mono8, not {kind}")
    if encoding:
        flat = memoryview(compress(flat, encoding, extents))
    about = {"type": dtype, "shape": extents, "pixel_format": kind, "endianness": sys.byteorder, "encoding": encoding}
    header = {**meta, "htype": "array-1.0", "ssf": 1, "kind": "frame", **about, "t_utc_ns": time.time_ns()}
    return b"", json.dumps(header, separators=(",", ":")).encode(), flat
