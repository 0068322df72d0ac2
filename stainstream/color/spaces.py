"""Color spaces, in float64."""

from __future__ import annotations

import numpy as np

from .lut import Colors

__all__ = ["lab_to_rgb", "rgb_to_lab"]

# sRGB primaries under D65 (IEC 61966-2-1), and CIE 15's constants of L*a*b*.
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])
_EPSILON, _SLOPE, _OFFSET = 0.008856, 7.787, 16.0 / 116.0


def rgb_to_lab(rgb: Colors) -> Colors:
    """CIE L*a*b* of sRGB colors.

    Parameters
    ----------
    rgb
        Shape (..., 3), in [0, 1].

    Returns
    -------
    Shape (..., 3): L* in [0, 100], a* and b* around zero.

    Examples
    --------
    >>> rgb_to_lab(np.array([1.0, 1.0, 1.0])).round(2).tolist()
    [100.0, -0.0, 0.01]
    """
    linear = np.where(rgb > 0.04045, ((np.maximum(rgb, 0.0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    ratio = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(ratio > _EPSILON, np.cbrt(ratio), _SLOPE * ratio + _OFFSET), -1, 0)
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def lab_to_rgb(lab: Colors) -> Colors:
    """SRGB colors of CIE L*a*b*: the inverse of `rgb_to_lab`; values may leave [0, 1]."""
    y = (lab[..., 0] + 16.0) / 116.0
    curve = np.stack([lab[..., 1] / 500.0 + y, y, y - lab[..., 2] / 200.0], axis=-1)
    ratio = np.where(curve > np.cbrt(_EPSILON), curve**3, (curve - _OFFSET) / _SLOPE)
    linear = (ratio * _WHITE) @ np.linalg.inv(_TO_XYZ).T
    rgb: Colors = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb
