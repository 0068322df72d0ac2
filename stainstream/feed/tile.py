"""A tile, or a frame, as a consumer gets it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stainstream.errors import WireError

__all__ = ["Tile", "read"]

_BYTES = {"uint8": 1, "uint16": 2}


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


def read(series: str, sequence: int, body: Sequence[memoryview], *, again: bool = False) -> Tile:
    """Read a message of format ``stainstream`` or ``array-1.0`` of raw pixels.

    Raises
    ------
    WireError
        If it is none.
    """
    try:
        header = json.loads(bytes(body[-2]))
        size = math.prod(header["shape"]) * _BYTES[header["type"]]
        encoding = header.get("encoding")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise WireError("unreadable tile", f"its header cannot be used: {error!r:.80}") from error
    if encoding or size != len(body[-1]):
        raise WireError("unreadable tile", f"{len(body[-1])} bytes are not {size}, encoding {encoding!r:.20}")
    return Tile(series, sequence, header, body[-1], again)
