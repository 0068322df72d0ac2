"""Tables on their way to others: coarse ones at once, and steps that no eye notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from .lut import COLORS, Colors, Lut, Rounding, Table, index_of, quantize

__all__ = ["bake_coarsely", "identity", "largest_change", "step"]

_SPACING = 5  # levels between nodes: 52 of them from 0 to 255
_NODES = 255 // _SPACING + 1


def identity() -> Lut:
    """The table that changes nothing."""
    return Lut(np.arange(COLORS, dtype=np.uint32), "not normalized")


def bake_coarsely(normalizer: Callable[[Colors], Colors], name: str, rounding: Rounding = "nearest") -> Lut:
    """Evaluate `normalizer` at 52^3 colors, five levels apart, and interpolate linearly in between.

    Takes about a tenth of `stainstream.color.lut.bake`, on one core. Most colors are the exact table's, the others
    differ by a level or two, where the map bends by more.
    """
    levels = np.arange(_NODES) * (_SPACING / 255.0)
    blue, green, red = np.meshgrid(levels, levels, levels, indexing="ij")
    grid = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    with np.errstate(all="ignore"):
        nodes = np.clip(np.nan_to_num(normalizer(grid)), 0.0, 1.0).astype(np.float32)
    nodes = nodes.reshape(_NODES, _NODES, _NODES, 3)
    table = np.empty((256, 256, 256), np.uint32)
    for level in range(256):
        low = min(level // _SPACING, _NODES - 2)
        share = (level - low * _SPACING) / _SPACING
        plane = nodes[low] * np.float32(1.0 - share) + nodes[low + 1] * np.float32(share)
        table[level] = index_of(quantize(_between(_between(plane, 0), 1), rounding))
    return Lut(table.reshape(-1), name)


def _between(nodes: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """All 256 levels along an axis of nodes."""
    nodes = np.moveaxis(nodes, axis, 0)
    levels = np.empty((256, *nodes.shape[1:]), np.float32)
    levels[255] = nodes[-1]
    for k in range(_SPACING):
        share = np.float32(k / _SPACING)
        levels[k:255:_SPACING] = nodes[:-1] * (1 - share) + nodes[1:] * share
    return np.moveaxis(levels, 0, axis)


def step(shown: Lut, goal: Lut, levels: int) -> Lut:
    """A table on the way from one to another: no color moves by more than `levels` in any channel.

    Each color moves on a straight line, and arrives exactly; where all have arrived, this is `goal` itself.
    """
    table = np.empty(COLORS, np.uint32)
    return Lut(table, goal.name) if _step(shown.table, goal.table, levels, table) else goal


def largest_change(before: Lut, after: Lut) -> int:
    """By how many levels, in any channel, two tables differ at most."""
    return int(_largest(before.table, after.table))


def _move(shown: Table, goal: Table, levels: int, out: Table) -> int:
    """Returns how many colors have not arrived."""
    under_way = 0
    for i in range(len(shown)):
        a, b = np.int64(shown[i]), np.int64(goal[i])
        red, green, blue = (b & 255) - (a & 255), (b >> 8 & 255) - (a >> 8 & 255), (b >> 16 & 255) - (a >> 16 & 255)
        most = max(abs(red), abs(green), abs(blue))
        if most <= levels:
            out[i] = goal[i]
        else:
            under_way += 1
            red, green = np.int64(red * levels / most), np.int64(green * levels / most)
            blue = np.int64(blue * levels / most)
            out[i] = np.uint32(a + red + (green << 8) + (blue << 16))
    return under_way


def _greatest(before: Table, after: Table) -> int:
    most = 0
    for i in range(len(before)):
        a, b = int(before[i]), int(after[i])
        if a != b:
            for shift in (0, 8, 16):
                most = max(most, abs((b >> shift & 255) - (a >> shift & 255)))
    return most


_compiled: Callable[[Any], Any] = nb.njit(nogil=True, cache=True)
_step: Callable[[Table, Table, int, Table], int] = _compiled(_move)
_largest: Callable[[Table, Table], int] = _compiled(_greatest)
