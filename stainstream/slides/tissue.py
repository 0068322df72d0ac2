"""Where on a slide there is tissue."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from stainstream.color.spaces import to_opencv_lab
from stainstream.color.tissue import is_ink
from stainstream.frame import RGB8

__all__ = ["TissueMask"]

_OVERVIEW = 2048  # pixels of the longer side of the picture in which tissue is looked for
_TISSUE_BELOW = 204  # OpenCV's 8-bit L*, for 80


class TissueMask:
    """Tissue as a thumbnail shows it: darker than L* 80, and not ink.

    Parameters
    ----------
    overview
        The whole slide, small: uint8 (height, width, 3).
    width, height
        Of the slide's level 0, in pixels.
    margin
        By how many of the overview's pixels tissue is grown.
    """

    def __init__(self, overview: RGB8, width: int, height: int, margin: int = 0) -> None:
        colors = overview.reshape(-1, 3)
        dark = (to_opencv_lab(colors)[:, 0] < _TISSUE_BELOW) & ~is_ink(colors)
        mask = dark.reshape(overview.shape[:2]).astype(np.uint8)
        if margin:
            mask = np.asarray(cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)))
        self._mask: Any = mask.astype(bool)
        self._across, self._down = overview.shape[1] / width, overview.shape[0] / height

    @classmethod
    def size(cls) -> int:
        """How long the longer side of an overview should be, in pixels."""
        return _OVERVIEW

    def share(self, x: int, y: int, width: int, height: int) -> float:
        """The share of a place on level 0, 0 to 1, that is tissue."""
        left, top = int(x * self._across), int(y * self._down)
        right, bottom = left + max(1, round(width * self._across)), top + max(1, round(height * self._down))
        return float(self._mask[top:bottom, left:right].mean())

    def at(self, x: int, y: int, width: int, height: int) -> Any:
        """Which pixels of a place on level 0 are tissue: bool (height, width)."""
        rows = ((y + np.arange(height)) * self._down).astype(np.intp).clip(0, self._mask.shape[0] - 1)
        columns = ((x + np.arange(width)) * self._across).astype(np.intp).clip(0, self._mask.shape[1] - 1)
        return self._mask[np.ix_(rows, columns)]
