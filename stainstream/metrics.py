"""How good a normalized image is: the paper's three measures, and the color difference people see."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.color.spaces import rgb_to_lab
from stainstream.errors import FrameError
from stainstream.frame import RGB8

__all__ = ["delta_e", "delta_e_map", "psnr", "ssim", "ssim_source"]

Image: TypeAlias = NDArray[np.floating[Any]]

_SIZE, _SIGMA = 11, 1.5
_K1, _K2, _RANGE = 0.01, 0.03, 255.0


def ssim(image: RGB8, truth: RGB8) -> float:
    """SSIM GT: mean structural similarity of RGB, 1 for equal images.

    A Gaussian window of 11 pixels, sigma 1.5, sample covariances, K1 0.01, K2 0.03, range 255; half a window at the
    borders is left out, and channels are averaged.

    Source: Z. Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE Transactions
    on Image Processing 13(4), 2004, as scikit-image computes it in the paper's code.

    Raises
    ------
    FrameError
        If the two differ in shape, or are smaller than the window.
    """
    _comparable(image, truth)
    return _similarity(image.astype(np.float64), truth.astype(np.float64))


def ssim_source(image: RGB8, source: RGB8) -> float:
    """SSIM Source: what is left of the source's structure; `ssim` of gray images, each stretched to 0 to 255."""
    _comparable(image, source)
    return _similarity(_stretched_gray(image), _stretched_gray(source))


def psnr(image: RGB8, truth: RGB8) -> float:
    """PSNR GT: peak signal-to-noise ratio in dB, over all pixels and channels; infinite for equal images."""
    _comparable(image, truth, least=1)
    error = np.mean(np.square(image.astype(np.float64) - truth))
    return float(10.0 * np.log10(_RANGE**2 / error)) if error else float("inf")


def delta_e(image: RGB8, truth: RGB8) -> float:
    """Mean color difference CIEDE2000 of the pixels; about 1 is just noticeable."""
    return float(np.mean(delta_e_map(image, truth)))


def delta_e_map(image: RGB8, truth: RGB8) -> Image:
    """Color difference CIEDE2000 of each pixel, shape (height, width).

    Source: G. Sharma et al., The CIEDE2000 color-difference formula, Color Research and Application 30(1), 2005.
    """
    _comparable(image, truth, least=1)
    return _ciede2000(rgb_to_lab(image / 255.0), rgb_to_lab(truth / 255.0))


def _comparable(image: RGB8, other: RGB8, least: int = _SIZE) -> None:
    if image.shape != other.shape or image.ndim != 3 or min(image.shape[:2]) < least:
        raise FrameError(
            f"cannot compare images of shape {list(image.shape)} and {list(other.shape)}",
            f"they must be of one shape, and no smaller than {least} pixels",
        )


def _stretched_gray(image: RGB8) -> Image:
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float64)
    low, high = gray.min(), gray.max()
    return (gray - low) / (high - low) * _RANGE if high > low else np.zeros_like(gray)


def _similarity(a: Image, b: Image) -> float:
    samples = _SIZE**2
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    mean_a, mean_b = _blurred(a), _blurred(b)
    unbiased = samples / (samples - 1)
    variances = unbiased * (_blurred(a * a) - mean_a * mean_a + _blurred(b * b) - mean_b * mean_b)
    shared = unbiased * (_blurred(a * b) - mean_a * mean_b)
    light = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * shared + c2) / (variances + c2)
    edge = _SIZE // 2
    return float(np.mean((light * structure)[edge:-edge, edge:-edge]))


def _blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (_SIZE, _SIZE), _SIGMA))


def _ciede2000(one: Image, other: Image) -> Image:
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    stretch = 1.5 - 0.5 * _seventh((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2)
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.arctan2(b, stretch * a) % (2 * np.pi) for a, b in ((a1, b1), (a2, b2)))
    gray = c1 * c2 == 0
    turn = np.where(gray, 0.0, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi)
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    h_mean = np.where(gray, h1 + h2, h1 + turn / 2)
    t = (
        1
        - 0.17 * np.cos(h_mean - np.radians(30))
        + 0.24 * np.cos(2 * h_mean)
        + 0.32 * np.cos(3 * h_mean + np.radians(6))
        - 0.20 * np.cos(4 * h_mean - np.radians(63))
    )
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    lightness = (l2 - l1) / s_l
    chroma = (c2 - c1) / (1 + 0.045 * c_mean)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * c_mean * t)
    degrees = np.degrees(h_mean) % 360
    rotation = -2 * _seventh(c_mean) * np.sin(np.radians(60) * np.exp(-(((degrees - 275) / 25) ** 2)))
    return np.asarray(np.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue))


def _seventh(chroma: Image) -> Image:
    return np.asarray(np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
