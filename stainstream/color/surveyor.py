"""Surveys of frames, taken in one pass."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from stainstream.errors import FrameError
from stainstream.frame import RGB8

from .histogram import ColorCounts
from .survey import Palette, Survey

__all__ = ["Surveyor", "gather", "of"]

_STRETCHES = 8  # into which frames are divided at most
_WITHIN = 99.0  # percent of the frames that are within reach


class Surveyor:
    """Surveys frames that come one by one.

    Attributes
    ----------
    palettes
        Of the frames with tissue, in order.
    skipped
        How many frames had too little tissue.
    """

    def __init__(self) -> None:
        self.palettes: list[Palette] = []
        self.skipped = 0
        self._stretches: list[ColorCounts] = []
        self._length = 1  # frames of a stretch

    @property
    def halves(self) -> tuple[ColorCounts, ColorCounts]:
        """Histograms of every other stretch of frames with tissue, and of the rest."""
        return ColorCounts.gather(self._stretches[::2]), ColorCounts.gather(self._stretches[1::2])

    @property
    def counts(self) -> ColorCounts:
        """The histogram of all frames with tissue."""
        return ColorCounts.gather(self._stretches)

    def add(self, frame: RGB8) -> bool:
        """Look at a frame; returns whether it has tissue enough to count."""
        palette = Palette.of(frame)
        if palette is None:
            self.skipped += 1
            return False
        counts = ColorCounts.of(frame)
        if len(self.palettes) % self._length:
            self._stretches[-1] += counts
        else:
            self._stretches.append(counts)
        self.palettes.append(palette)
        if len(self.palettes) == _STRETCHES * self._length:
            pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
            self._stretches = [one + other for one, other in pairs]
            self._length *= 2
        return True

    def survey(self) -> Survey | None:
        """What the frames were; None if none had tissue."""
        halves = self.halves
        whole, *parts = (Palette.of(each) for each in (halves[0] + halves[1], *halves))
        if whole is None:
            return None
        distances = [whole.distance(each) for each in self.palettes]
        odd, even = (part or whole for part in parts)
        return Survey(
            frames=len(self.palettes),
            skipped=self.skipped,
            palette=whole,
            spread=float(np.mean(distances)),
            reach=float(np.percentile(distances, _WITHIN)),
            converged=odd.distance(even),
        )


def gather(frames: Iterable[RGB8]) -> tuple[ColorCounts, Survey | None]:
    """Count the colors of the frames that hold tissue, in one pass, and say what they were.

    Returns
    -------
    Their histogram, and the survey; None if no frame held tissue.
    """
    surveyor = Surveyor()
    for frame in frames:
        surveyor.add(frame)
    return surveyor.counts, surveyor.survey()


def of(images: Iterable[RGB8], note: str = "", license: str = "") -> Survey:
    """What some images are, for a model's card: those that it was trained on.

    Parameters
    ----------
    images
        uint8 (height, width, 3) each; about as large as the frames that the model will see.
    note, license
        Where they come from, and under which licence.

    Raises
    ------
    FrameError
        If none of them holds tissue.
    """
    _, survey = gather(images)
    if survey is None:
        raise FrameError("cannot survey the images", "none of them holds tissue")
    return msgspec.structs.replace(survey, note=note, license=license)
