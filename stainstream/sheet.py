"""A sheet of pictures with captions: to see what numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .color.lut import quantize
from .frame import RGB8

__all__ = ["Row", "contrasted", "sheet"]

_SIDE, _GAP, _BAR = 320, 8, 30  # pixels
_PAPER, _INK = 255, 40
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5


@dataclass(frozen=True)
class Row:
    """Pictures that belong together."""

    caption: str
    """ASCII."""
    images: Sequence[RGB8]


def sheet(rows: Sequence[Row]) -> RGB8:
    """Draw rows of pictures below each other, each above its caption.

    Returns
    -------
    uint8 (height, width, 3). Each picture is cut to a square around its middle and scaled.
    """
    columns = max(len(row.images) for row in rows)
    width = columns * (_SIDE + _GAP) + _GAP
    return np.vstack([_drawn(row, width) for row in rows])


def contrasted(image: RGB8) -> RGB8:
    """An image with four times the contrast around its mean color, which becomes gray."""
    return quantize((image - image.mean(axis=(0, 1))) * (4 / 255) + 0.5)


def _drawn(row: Row, width: int) -> RGB8:
    band = np.full((_BAR + _SIDE + _GAP, width, 3), _PAPER, np.uint8)
    cv2.putText(band, row.caption, (_GAP, _BAR - 10), _FONT, _SCALE, (_INK,) * 3, 1, cv2.LINE_AA)
    for k, image in enumerate(row.images):
        left = _GAP + k * (_SIDE + _GAP)
        band[_BAR : _BAR + _SIDE, left : left + _SIDE] = _thumbnail(image)
    return band


def _thumbnail(image: RGB8) -> RGB8:
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > _SIDE else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(square, (_SIDE, _SIDE), interpolation=how), np.uint8)
