"""What a look at the pixels says about a frame: histograms, focus, clipping."""

from __future__ import annotations

import math
from collections import deque

import cv2
import msgspec
import numpy as np

from stainstream.frame import RGB8

__all__ = ["BINS", "Focus", "Vitals", "histogram", "measure", "sharpness"]

BINS = 64
_SAMPLES = 100_000  # pixels that a histogram is counted over
_TILES, _TILE = 3, 192  # how many tiles a side, of how many pixels, sharpness is measured in
_FADE_S = 30.0


class Vitals(msgspec.Struct, frozen=True):
    """Of one frame."""

    raw: list[list[int]]
    """Histograms of red, green and blue before normalization: `BINS` heights each, 255 for the highest of all."""
    normalized: list[list[int]]
    """The same after it."""
    focus: float
    """Sharpness, as a share of the best of the last half minute, in [0, 1]."""
    sharpness: float
    """See `sharpness`."""
    dark: float
    """Share of raw pixels with a channel at 0, in [0, 1]."""
    bright: float
    """Share of raw pixels with a channel at 255, in [0, 1]."""


def _sample(image: RGB8) -> RGB8:
    """Every so many-th pixel."""
    step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _SAMPLES))
    return np.ascontiguousarray(image[::step, ::step])


def histogram(image: RGB8) -> list[list[int]]:
    """Heights of the bins of each channel, 255 for the highest of all.

    Examples
    --------
    >>> red, _, _ = histogram(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    >>> red[-1], sum(red)
    (255, 255)
    """
    counts = [cv2.calcHist([image], [channel], None, [BINS], [0, 256]).ravel() for channel in range(3)]
    highest = max(float(each.max()) for each in counts)
    return [(each * (255 / highest)).round().astype(int).tolist() for each in counts]


def sharpness(image: RGB8) -> float:
    """Tenengrad of the green channel, over tiles spread over the image, divided by the square of their mean.

    Dividing makes it independent of the lamp. Green is where hematoxylin and eosin both absorb.

    Source: Groen, Young, Ligthart, A comparison of different focus functions for use in autofocus algorithms, 1985.
    """
    energy, light = [], []
    for y in _starts(image.shape[0]):
        for x in _starts(image.shape[1]):
            tile = np.ascontiguousarray(image[y : y + _TILE, x : x + _TILE, 1])
            across, down = (cv2.Sobel(tile, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
            energy.append(float((across**2 + down**2).mean()))
            light.append(float(tile.mean()))
    return float(np.mean(energy)) / max(float(np.mean(light)), 1.0) ** 2


def _starts(length: int) -> list[int]:
    """Where tiles begin on an axis: evenly spread, and no more of them than fit."""
    fit = min(_TILES, max(1, length // _TILE))
    return [round((index + 1) * max(0, length - fit * _TILE) / (fit + 1)) + index * _TILE for index in range(fit)]


class Focus:
    """Sharpness relative to the best of the last half minute."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque()  # (time, sharpness), each sharper than all after it

    def rate(self, sharp: float, now_s: float) -> float:
        """In [0, 1], 1 for the best.

        Examples
        --------
        >>> focus = Focus()
        >>> focus.rate(2.0, 0.0), focus.rate(1.0, 10.0), focus.rate(1.0, 35.0)
        (1.0, 0.5, 1.0)
        """
        while self._recent and self._recent[-1][1] <= sharp:
            self._recent.pop()
        self._recent.append((now_s, sharp))
        while self._recent[0][0] < now_s - _FADE_S:
            self._recent.popleft()
        best = self._recent[0][1]
        return sharp / best if best > 0 else 1.0


def measure(raw: RGB8, normalized: RGB8, focus: Focus, now_s: float) -> Vitals:
    """Look at a frame; takes a few milliseconds, whatever its size."""
    before = _sample(raw)
    sharp = sharpness(raw)
    return Vitals(
        raw=histogram(before),
        normalized=histogram(_sample(normalized)),
        focus=focus.rate(sharp, now_s),
        sharpness=sharp,
        dark=_outside(before, 1, 255),
        bright=_outside(before, 0, 254),
    )


def _outside(image: RGB8, low: int, high: int) -> float:
    """Share of pixels with a channel below `low` or above `high`, in [0, 1]."""
    inside = cv2.countNonZero(cv2.inRange(image, (low,) * 3, (high,) * 3))
    return 1.0 - inside / float(image.shape[0] * image.shape[1])
