"""Which colors are tissue, glass or ink."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stainstream.frame import RGB8

from .lut import Colors

__all__ = ["Mask", "is_ink", "keep_glass"]

Mask: TypeAlias = NDArray[np.bool_]

_GLASS_FROM, _GLASS_TO = 205, 225  # of the darkest channel: all of 0.15 optical density below 240 is above the first
_BLACK_FROM, _BLACK_TO = 40, 8  # of the brightest channel: marker, dirt, no light


def is_ink(colors: RGB8) -> Mask:
    """Whether colors are marker ink or black rather than stain: uint8 (n, 3) to bool (n,).

    Stains of tissue (hematoxylin, eosin, the Papanicolaou dyes) absorb green more than red, or are pale; blue and green
    markers do neither. Red markers cannot be told from erythrocytes by color.
    """
    red, green, blue = np.ascontiguousarray(colors.T).astype(np.int16)
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    greenish = (green - red > 30) & (brightest - darkest > 80)
    bluish = blue - np.maximum(red, green) > 90
    return np.asarray(greenish | bluish | (brightest < _BLACK_FROM), np.bool_)


def keep_glass(rgb: Colors, mapped: Colors) -> Colors:
    """Blend a map smoothly into the identity where a color is glass or black.

    Colors whose darkest channel is at level 225 or above, and those whose brightest is at 8 or below, stay as they are;
    those with a channel below 205 and one above 40 are mapped entirely.

    Parameters
    ----------
    rgb, mapped
        Shape (..., 3), in [0, 1]: colors before and after; the latter are clipped.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    darkest, brightest = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    near = (darkest > _GLASS_FROM / 255.0) | (brightest < _BLACK_FROM / 255.0)
    if not near.any():
        return mapped
    share = np.maximum(_ramp(darkest[near], _GLASS_FROM, _GLASS_TO), _ramp(brightest[near], _BLACK_FROM, _BLACK_TO))
    kept = mapped.copy()
    # In this form a share of exactly 1 gives the color itself to the last bit, which truncation needs.
    kept[near] = rgb[near] * share[:, None] + np.clip(mapped[near], 0.0, 1.0) * (1.0 - share[:, None])
    return kept


def _ramp(values: Colors, start: int, stop: int) -> Colors:
    """From 0 at level `start` to 1 at level `stop`, without a kink."""
    t = np.clip((values * 255.0 - start) / (stop - start), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))
