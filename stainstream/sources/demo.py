"""Tissue that moves, for trying things out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np

from stainstream.config import Settings
from stainstream.errors import SourceError, UsageError
from stainstream.frame import RGB8, Frame, PixelFormat

from .barcode import BARCODE, write_barcode
from .base import Source
from .pace import Pace
from .size import Size

__all__ = ["Demo"]

_TRAVEL = 128  # how far, in pixels, even the largest frames move; 1920x1080 fits into the field without mirroring
_SPEED_X, _SPEED_Y = 1, 2  # pixels a frame


class Demo(Source):
    """Pans over an H&E field of CAMELYON17 (centre 2, CC0), like a stage that moves to and fro.

    A frame's pixels follow from its number alone: frame N of one run equals frame N of any other. ``meta`` holds ``x``
    and ``y``: where in the field the frame's upper left corner lies, in pixels. Frames larger than the field see it
    mirrored at its edges.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        size: str = "512x512"
        """WIDTHxHEIGHT, 720p, 1080p or 4K."""
        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 30.0
        """Frames a second; 0 for as many as are taken."""
        barcode: bool = False
        """Whether to write the frame's number into its corner; see `read_barcode`."""
        frames: Annotated[int, msgspec.Meta(ge=0)] = 0
        """How many; 0 for no end."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._size = Size.parse(options.size)
        if options.barcode and (self._size.width < BARCODE.width or self._size.height < BARCODE.height):
            raise UsageError(f"cannot write a barcode into frames of {self._size}", f"it takes {BARCODE}")
        self._canvas: RGB8 | None = None

    @property
    def waits(self) -> bool:
        """It does if it has no rate of its own."""
        return not self.options.rate

    def _open(self) -> None:
        self._canvas = _canvas(self._size)

    def _close(self) -> None:
        self._canvas = None

    def __iter__(self) -> Iterator[Frame]:
        if (canvas := self._canvas) is None:
            raise SourceError("cannot read from the demo", "it is not open")
        pace = Pace(self.options.rate, self.stopping)
        for seq in range(self.options.frames) if self.options.frames else itertools.count():
            if not pace.wait():
                return
            yield self._frame(canvas, seq)

    def _frame(self, canvas: RGB8, seq: int) -> Frame:
        height, width = self._size.height, self._size.width
        y = _to_and_fro(seq * _SPEED_Y, canvas.shape[0] - height)
        x = _to_and_fro(seq * _SPEED_X, canvas.shape[1] - width)
        image = canvas[y : y + height, x : x + width].copy()
        if self.options.barcode:
            write_barcode(image, seq)
        return Frame(image, PixelFormat.RGB8, seq, time.monotonic_ns(), {"x": x, "y": y})


def _to_and_fro(way: int, travel: int) -> int:
    """Position after `way` pixels between two walls `travel` apart."""
    return travel - abs(way % (2 * travel) - travel)


def _canvas(size: Size) -> RGB8:
    """The field, enlarged by its own mirror images where a frame of `size` would have no room to move in it."""
    data = resources.files("stainstream.sources").joinpath("tissue.jpg").read_bytes()
    field: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    cv2.cvtColor(field, cv2.COLOR_BGR2RGB, dst=field)
    below = max(0, size.height + _TRAVEL - field.shape[0])
    right = max(0, size.width + _TRAVEL - field.shape[1])
    canvas: RGB8 = cv2.copyMakeBorder(field, 0, below, 0, right, cv2.BORDER_REFLECT) if below or right else field
    return canvas
