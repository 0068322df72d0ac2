"""Statistics that follow a stream."""

from __future__ import annotations

import math
from typing import Any

from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import colors_of
from stainstream.frame import RGB8

from .conventions import Conventions
from .fitted import Fitted, Statistics, enough_tissue

__all__ = ["Estimate"]

_FORGOTTEN = 64  # a color is dropped when this fraction of a fresh pixel's weight is left: after four time constants


class Estimate:
    """What a stream looks like lately: a histogram that forgets exponentially, of frames with tissue only.

    Parameters
    ----------
    kind, settings
        Of which method's statistics, under which conventions; `least_tissue` says which frames count.
    seconds
        After which a frame counts 1/e; 0: nothing is forgotten.
    """

    def __init__(self, kind: type[Fitted[Any]], settings: Conventions, seconds: float) -> None:
        self.kind, self.settings, self.seconds = kind, settings, seconds
        self.frames = 0
        """How many had tissue."""
        self._counts = ColorCounts.gather(())
        self._last_ns: int | None = None

    def add(self, pixels: RGB8, captured_ns: int) -> bool:
        """Take a frame's pixels in, uint8 (n, 3) or an image, captured at `captured_ns`.

        Returns
        -------
        Whether it had tissue enough; if not, what was known stays as it is, however long that lasts.
        """
        counts = ColorCounts.of(pixels)
        passed = 0.0 if self._last_ns is None else max(0.0, (captured_ns - self._last_ns) / 1e9)
        self._last_ns = captured_ns
        if not enough_tissue(counts, self.settings):
            return False
        if self.seconds:
            least = max(1, int(counts.shares.min()) // _FORGOTTEN)
            self._counts = self._counts.faded(math.exp(-passed / self.seconds), least)
        self._counts += counts
        self.frames += 1
        return True

    def statistics(self) -> Statistics:
        """The method's statistics now.

        Raises
        ------
        FrameError
            If the colors do not tell.
        """
        found: Statistics = self.kind.study(self._counts, self.settings, "stream")
        return found

    def sample(self, count: int) -> RGB8:
        """Some of the colors that were seen lately, about `count`, shape (n, 3)."""
        step = max(1, len(self._counts) // count)
        return colors_of(self._counts.words[::step])
