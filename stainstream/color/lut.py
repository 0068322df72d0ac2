"""Exact tables of all 256^3 colors."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import ModelError
from stainstream.frame import RGB8

__all__ = ["COLORS", "Colors", "Lut", "Rounding", "Table", "bake", "colors_of", "index_of", "quantize"]

Colors: TypeAlias = NDArray[np.floating[Any]]
"""RGB in [0, 1], of shape (..., 3)."""

Table: TypeAlias = NDArray[np.uint32]
"""256^3 words: the color (r, g, b) at index r | g << 8 | b << 16 becomes (R, G, B) of the word R | G << 8 | B << 16.

The index of a pixel is thus its three bytes read as a little-endian number.
"""

Rounding: TypeAlias = Literal["nearest", "truncate"]
"""How levels become integers: to the nearest (halves to even), or down, as the paper's code does."""

COLORS = 1 << 24
_CHUNK = 1 << 11  # 32 hidden channels of float64 are 512 KiB, which stay in the cache of one core


def quantize(colors: Colors, rounding: Rounding = "nearest") -> RGB8:
    """Turn colors in [0, 1] into bytes; the one place where clipping and rounding happen.

    Parameters
    ----------
    colors
        Any shape; values outside [0, 1] are clipped.
    rounding
        ``"nearest"`` (halves to even) or ``"truncate"``.

    Examples
    --------
    >>> quantize(np.array([-1.0, 0.499, 0.5, 2.0])).tolist()
    [0, 127, 128, 255]
    """
    levels = np.clip(colors, 0.0, 1.0) * 255.0
    # A cast of a non-negative float truncates.
    whole: RGB8 = (np.rint(levels) if rounding == "nearest" else levels).astype(np.uint8)
    return whole


def index_of(rgb: RGB8) -> NDArray[np.uint32]:
    """Index of each pixel in a `Table`: shape (..., 3), uint8, to shape (...)."""
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16, np.uint32)


def colors_of(words: NDArray[np.uint32]) -> RGB8:
    """Bytes of table words or indices: shape (...) to shape (..., 3), uint8."""
    return np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(*words.shape, 4)[..., :3]


@dataclass(frozen=True, eq=False)
class Lut:
    """A pixelwise method as the exact table of what it does to each of the 256^3 colors."""

    table: Table
    """Shape (16,777,216), read-only; see `Table` for the order."""
    name: str
    """The method or model that was baked."""

    def __post_init__(self) -> None:
        if self.table.shape != (COLORS,) or self.table.dtype != np.uint32:
            raise ModelError(
                f"table {self.name!r} is {self.table.dtype}{list(self.table.shape)}",
                f"it must be uint32[{COLORS}]",
            )
        self.table.flags.writeable = False

    @property
    def data(self) -> memoryview:
        """The table's little-endian bytes."""
        return np.ascontiguousarray(self.table, "<u4").data.cast("B")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `data`, in hex: two tables with one digest do the same."""
        return hashlib.sha256(self.data).hexdigest()


def bake(
    normalizer: Callable[[Colors], Colors],
    name: str,
    rounding: Rounding = "nearest",
    threads: int | None = None,
) -> Lut:
    """Evaluate `normalizer` in float64 for every color.

    Parameters
    ----------
    normalizer
        Maps float64 colors of shape (n, 3) to the same shape, each row on its own.
    name
        Name of the table.
    rounding
        How levels become integers.
    threads
        How many chunks to evaluate at once; all processors by default.

    Raises
    ------
    ModelError
        If the method gives something that is not a number.
    """
    from threadpoolctl import threadpool_limits

    table = np.empty(COLORS, np.uint32)
    words = np.arange(_CHUNK, dtype=np.uint32)

    def fill(start: int) -> None:
        colors = colors_of(words + np.uint32(start))
        with np.errstate(all="ignore"):  # what is not a number is refused below
            result = normalizer(colors / 255.0)
        if not np.isfinite(result).all():
            at = colors[~np.isfinite(result).all(axis=-1)][0].tolist()
            raise ModelError(f"cannot bake {name!r}", f"it gives no number for the color {at}")
        table[start : start + _CHUNK] = index_of(quantize(result, rounding))

    # One BLAS thread a chunk: its own threads cost more than they bring on products this thin.
    with threadpool_limits(1, "blas"):
        starts = range(0, COLORS, _CHUNK)
        if threads == 1:  # on this very thread, so that its priority holds, and nobody waits while tasks are handed out
            deque(map(fill, starts), maxlen=0)
        else:
            with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
                deque(pool.map(fill, starts), maxlen=0)
    return Lut(table, name)
