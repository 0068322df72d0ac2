"""The colors of a live frame's tissue, in a few microseconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from stainstream.frame import RGB8

from .spaces import curve_table, ratio_table

__all__ = ["glance"]

Triple: TypeAlias = tuple[float, float, float]
Table: TypeAlias = NDArray[np.floating[Any]]

_STEPS = 1 << 12  # of the curve; straight lines between them are within 0.003 units of L*a*b*


def glance(image: RGB8, step: int, glass_from: float, least: float) -> tuple[Triple, Triple] | None:
    """Mean and spread of L*a*b* over the tissue of every `step`-th pixel of every `step`-th row.

    The same as `Palette.of` to within 0.01 units, thirty times as fast.

    Parameters
    ----------
    image
        uint8 (height, width, 3), of any strides.
    glass_from
        Lightness L* from which a pixel is glass.
    least
        The share of tissue below which there is nothing to tell: None.
    """
    sums = np.zeros(8)
    _sums(image, step, glass_from, *_tables(), sums)
    looked, tissue = sums[6], sums[7]
    if not looked or tissue < max(1.0, least * looked):
        return None
    mean = sums[:3] / tissue
    spread = np.sqrt(np.maximum(sums[3:6] / tissue - mean * mean, 0.0))
    (a, b, c), (d, e, f) = mean.tolist(), spread.tolist()
    return (a, b, c), (d, e, f)


@cache
def _tables() -> tuple[Table, Table]:
    return ratio_table(), curve_table(_STEPS)


_compiled: Callable[[Any], Any] = nb.njit(
    "void(Array(uint8, 3, 'A', True), int64, float64, float64[:, :, ::1], float64[::1], float64[::1])",
    nogil=True,
    cache=True,
)


@_compiled
def _sums(image: RGB8, step: int, glass_from: float, ratios: Table, curve: Table, sums: Table) -> None:
    scale = len(curve) - 2
    looked = tissue = 0
    for row in range(step // 2, image.shape[0], step):
        for column in range(step // 2, image.shape[1], step):
            red, green, blue = (
                np.int64(image[row, column, 0]),
                np.int64(image[row, column, 1]),
                np.int64(image[row, column, 2]),
            )
            looked += 1
            fx, fy, fz = 0.0, 0.0, 0.0
            for axis in range(3):
                ratio = ratios[0, red, axis] + ratios[1, green, axis] + ratios[2, blue, axis]
                at = ratio * scale
                low = min(int(at), scale)
                value = curve[low] + (at - low) * (curve[low + 1] - curve[low])
                if axis == 0:
                    fx = value
                elif axis == 1:
                    fy = value
                else:
                    fz = value
            lightness = 116.0 * fy - 16.0
            brightest, darkest = max(red, green, blue), min(red, green, blue)
            # Marker and black, as `tissue.is_ink` has it.
            ink = (green - red > 30 and brightest - darkest > 80) or blue - max(red, green) > 90 or brightest < 40
            if lightness >= glass_from or ink:
                continue
            tissue += 1
            a, b = 500.0 * (fx - fy), 200.0 * (fy - fz)
            sums[0] += lightness
            sums[1] += a
            sums[2] += b
            sums[3] += lightness * lightness
            sums[4] += a * a
            sums[5] += b * b
    sums[6], sums[7] = looked, tissue
