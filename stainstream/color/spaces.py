"""Color spaces, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stainstream.frame import RGB8

from .lut import Colors

__all__ = [
    "by_level",
    "curve_table",
    "from_opencv_lab",
    "lab_to_rgb",
    "mixed",
    "ratio_table",
    "rgb_to_lab",
    "scale_lab",
    "to_opencv_lab",
]

# sRGB primaries under D65 (IEC 61966-2-1), and CIE 15's constants of L*a*b*.
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_EPSILON, _SLOPE, _OFFSET = 0.008856, 7.787, 16.0 / 116.0

_TO_RATIO = (_TO_XYZ / _WHITE[:, None]).T
_FROM_RATIO = np.linalg.inv(_TO_RATIO)
_TO_LAB = np.array([[0.0, 500.0, 0.0], [116.0, -500.0, 200.0], [0.0, 0.0, -200.0]])
_FROM_LAB = np.linalg.inv(_TO_LAB)
_BLACK = np.array([-16.0, 0.0, 0.0])
_CURVE_EPSILON = float(np.cbrt(_EPSILON))
_LEVELS = np.arange(256) / 255.0


def by_level(function: Callable[[Colors], Colors], rgb: Colors | RGB8) -> Colors:
    """`function` of colors in [0, 1], element by element; evaluated only 256 times if all of them are 8-bit levels.

    Bytes stand for themselves over 255.
    """
    if rgb.dtype == np.uint8:
        return np.asarray(function(_LEVELS)[rgb])
    colors = cast("Colors", rgb)
    if colors.dtype == np.float32:  # to look them up would take longer
        return function(colors)
    levels = colors * 255.0
    with np.errstate(invalid="ignore"):  # what is out of range or no number is found out by the comparison
        whole = levels.astype(np.uint8)
    return np.asarray(function(_LEVELS)[whole]) if np.array_equal(whole, levels) else function(colors)


def rgb_to_lab(rgb: Colors | RGB8) -> Colors:
    """CIE L*a*b* of sRGB colors.

    Parameters
    ----------
    rgb
        Shape (..., 3), in [0, 1], or bytes.

    Returns
    -------
    Shape (..., 3): L* in [0, 100], a* and b* around zero.

    Examples
    --------
    >>> rgb_to_lab(np.array([1.0, 1.0, 1.0])).round(2).tolist()
    [100.0, -0.0, 0.0]
    """
    lab = _curve(rgb) @ _TO_LAB
    lab += _BLACK
    return np.asarray(lab)


def lab_to_rgb(lab: Colors) -> Colors:
    """SRGB colors of CIE L*a*b*: the inverse of `rgb_to_lab`; values may leave [0, 1]."""
    return _uncurve((lab - _BLACK) @ _FROM_LAB)


def scale_lab(rgb: Colors, scale: Colors, offset: Colors) -> Colors:
    """The colors whose CIE L*a*b* is `scale` times that of `rgb`, plus `offset`.

    The same as going there and back, in fewer steps.

    Parameters
    ----------
    rgb
        Shape (..., 3), in [0, 1].
    scale, offset
        Shape (3,).
    """
    curve = mixed(_curve(rgb), _TO_LAB * scale @ _FROM_LAB)
    curve += (((scale - 1.0) * _BLACK + offset) @ _FROM_LAB).astype(curve.dtype)
    return _uncurve(curve)


def mixed(values: Colors, matrix: Colors) -> Colors:
    """`values` of shape (..., k) times a matrix of shape (k, m), in the precision of the former: shape (..., m).

    In memory, each channel of the result lies in one piece, which is faster for what follows.
    """
    rows = values.reshape(-1, len(matrix))
    product = (matrix.T.astype(values.dtype) @ rows.T).T
    return np.asarray(product.reshape(*values.shape[:-1], matrix.shape[1]))


def _curve(rgb: Colors | RGB8) -> Colors:
    """The cube root of X, Y and Z over those of white, with CIE's straight end."""
    ratio = mixed(by_level(_linear, rgb), _TO_RATIO)
    curve, dark = np.cbrt(ratio), ratio <= _EPSILON
    if dark.any():
        np.copyto(curve, _SLOPE * ratio + _OFFSET, where=dark)
    return np.asarray(curve)


def ratio_table() -> Colors:
    """What each level of each channel adds to X, Y and Z over those of white: shape (3, 256, 3)."""
    return np.ascontiguousarray(_linear(_LEVELS)[None, :, None] * _TO_RATIO[:, None, :])


def curve_table(steps: int) -> Colors:
    """The curve of L*a*b* at `steps` + 1 ratios from 0 to 1, and one beyond: shape (steps + 2,)."""
    ratio = np.arange(steps + 2) / steps
    return np.asarray(np.where(ratio <= _EPSILON, _SLOPE * ratio + _OFFSET, np.cbrt(ratio)))


def _uncurve(curve: Colors) -> Colors:
    ratio, dark = curve * curve * curve, curve <= _CURVE_EPSILON
    if dark.any():
        np.copyto(ratio, (curve - _OFFSET) / _SLOPE, where=dark)
    linear = mixed(ratio, _FROM_RATIO)
    # On either side of where they meet, the lower one is right.
    rgb = np.maximum(linear, 0.0031308)
    np.power(rgb, 1 / 2.4, out=rgb)
    rgb *= 1.055
    rgb -= 0.055
    linear *= 12.92
    return np.minimum(rgb, linear, out=rgb)


def _linear(rgb: Colors) -> Colors:
    return np.where(rgb > 0.04045, ((np.maximum(rgb, 0.0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)


def to_opencv_lab(colors: RGB8) -> NDArray[np.uint8]:
    """OpenCV's 8-bit L*a*b* of uint8 colors (..., 3): L* times 2.55, a* and b* plus 128, all rounded."""
    return _converted(colors, "COLOR_RGB2LAB")


def from_opencv_lab(lab: NDArray[np.uint8]) -> RGB8:
    """The uint8 colors of OpenCV's 8-bit L*a*b*, (..., 3)."""
    return _converted(lab, "COLOR_LAB2RGB")


def _converted(pixels: NDArray[np.uint8], how: str) -> NDArray[np.uint8]:
    import cv2  # which models that are no classic method never need

    return np.asarray(cv2.cvtColor(pixels.reshape(1, -1, 3), getattr(cv2, how)), np.uint8).reshape(pixels.shape)
