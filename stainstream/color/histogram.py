"""How often each color occurs: all that a pixelwise statistic needs to know of a set of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError
from stainstream.frame import RGB8

from .lut import colors_of

__all__ = ["ColorCounts", "Shares", "Weights", "Words"]

Words: TypeAlias = NDArray[np.uint32]
"""Colors as r | g << 8 | b << 16."""
Shares: TypeAlias = NDArray[np.int64]
Weights: TypeAlias = NDArray[np.float64]

_FRAME = 1 << 40  # the share of one frame: 8 million frames fit into 63 bits
_LOW, _DIGIT = 4095, 12  # colors are sorted by two digits of 12 bits


@dataclass(frozen=True, eq=False)
class ColorCounts:
    """The exact histogram of some images, over all 256^3 colors, as the colors that occur.

    Shares are whole numbers, so that the histograms of two halves add up to that of the whole exactly, in any order;
    whatever is computed from them is then the same, too. Each frame has the same share, whatever its size, unless told
    otherwise.

    Examples
    --------
    >>> red, gray = np.full((2, 2, 3), (255, 0, 0), np.uint8), np.full((8, 8, 3), 128, np.uint8)
    >>> both = ColorCounts.of(red) + ColorCounts.of(gray)
    >>> both.colors.tolist(), both.weights.tolist()
    ([[255, 0, 0], [128, 128, 128]], [1.0, 1.0])
    """

    words: Words
    """Shape (n,): the colors that occur, ascending."""
    shares: Shares
    """Shape (n,), positive: the weight of each color."""

    @classmethod
    def of(cls, image: RGB8, share: int | None = None) -> ColorCounts:
        """Count the colors of one image.

        Parameters
        ----------
        image
            uint8 of shape (..., 3).
        share
            Weight of each of its pixels; by default such that all pixels together weigh as much as any other frame's.

        Raises
        ------
        FrameError
            If it is not such an array, or is empty.
        """
        if image.dtype != np.uint8 or image.ndim < 2 or image.shape[-1] != 3 or image.size == 0:
            raise FrameError(f"cannot count the colors of {image.dtype}{list(image.shape)}", "it is no 8-bit RGB image")
        pixels = np.ascontiguousarray(image.reshape(-1, 3))
        words, counts = _count(pixels)
        return cls(words, counts * (max(1, _FRAME // len(pixels)) if share is None else share))

    @classmethod
    def gather(cls, images: RGB8 | ColorCounts | Iterable[RGB8 | ColorCounts]) -> ColorCounts:
        """Add up the histograms of images, given one, several or a batch; images and histograms may be mixed."""
        if isinstance(images, ColorCounts):
            return images
        single = isinstance(images, np.ndarray) and images.ndim < 4
        total = cls(np.empty(0, np.uint32), np.empty(0, np.int64))
        for each in [images] if single else images:
            total += each if isinstance(each, ColorCounts) else cls.of(np.asarray(each))
        return total

    def __add__(self, other: ColorCounts) -> ColorCounts:
        """The histogram of both sets of images together."""
        return ColorCounts(*_merge(self.words, self.shares, other.words, other.shares))

    def faded(self, keep: float, least: int = 1) -> ColorCounts:
        """The same with `keep` (0 to 1) of its weight, for estimates that forget.

        Shares are rounded down; colors with less than `least` are forgotten altogether, or they would pile up.
        """
        shares = (self.shares * keep).astype(np.int64)
        return ColorCounts(self.words[shares >= least], shares[shares >= least])

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def colors(self) -> RGB8:
        """Shape (n, 3): the colors that occur."""
        return np.ascontiguousarray(colors_of(self.words))

    @cached_property
    def weights(self) -> Weights:
        """Shape (n,): their weights, in the smallest whole numbers; for images of one size, numbers of pixels."""
        return np.asarray(self.shares // max(1, np.gcd.reduce(self.shares)), np.float64)


def _count_pixels(pixels: RGB8) -> tuple[Words, Shares]:
    """Sort the pixels by radix, then count the runs of equal ones."""
    n = len(pixels)
    words, other, counts = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.int64)
    low, high = np.zeros(_LOW + 2, np.int64), np.zeros(_LOW + 2, np.int64)
    for i in range(n):
        word = np.uint32(pixels[i, 0]) | np.uint32(pixels[i, 1]) << 8 | np.uint32(pixels[i, 2]) << 16
        words[i] = word
        low[(word & _LOW) + 1] += 1
        high[(word >> _DIGIT) + 1] += 1
    low, high = np.cumsum(low), np.cumsum(high)
    for i in range(n):
        digit = words[i] & _LOW
        other[low[digit]] = words[i]
        low[digit] += 1
    for i in range(n):
        digit = other[i] >> _DIGIT
        words[high[digit]] = other[i]
        high[digit] += 1
    found = 0
    for i in range(n):
        if i == 0 or words[i] != words[i - 1]:
            other[found], counts[found] = words[i], 0
            found += 1
        counts[found - 1] += 1
    return other[:found].copy(), counts[:found].copy()


def _merge_sorted(words: Words, shares: Shares, others: Words, other_shares: Shares) -> tuple[Words, Shares]:
    size = len(words) + len(others)
    merged, sums = np.empty(size, np.uint32), np.empty(size, np.int64)
    i = j = found = 0
    while i < len(words) or j < len(others):
        mine = j == len(others) or (i < len(words) and words[i] <= others[j])
        both = mine and j < len(others) and words[i] == others[j]
        merged[found] = words[i] if mine else others[j]
        sums[found] = (shares[i] if mine else 0) + (other_shares[j] if both or not mine else 0)
        i, j, found = i + mine, j + (both or not mine), found + 1
    return merged[:found].copy(), sums[:found].copy()


_compiled: Callable[[Any], Any] = nb.njit(nogil=True, cache=True)
_count: Callable[[RGB8], tuple[Words, Shares]] = _compiled(_count_pixels)
_merge: Callable[[Words, Shares, Words, Shares], tuple[Words, Shares]] = _compiled(_merge_sorted)
