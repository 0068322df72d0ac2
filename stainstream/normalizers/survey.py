"""What some frames were: how many, how much of them is tissue, of which colors, and how much they differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import numpy as np

from stainstream.color.histogram import ColorCounts, Weights
from stainstream.color.spaces import rgb_to_lab
from stainstream.color.stats import mean_and_std
from stainstream.color.tissue import is_ink
from stainstream.config import Settings
from stainstream.frame import RGB8

__all__ = ["Palette", "Survey", "gather"]

Triple = tuple[float, float, float]
Distance = Annotated[float, msgspec.Meta(ge=0.0)]

_TISSUE_BELOW_L = 80.0  # lighter colors are glass; the threshold of StainTools and tiatoolbox
_SAMPLE = 4096  # pixels of a frame that are looked at
_LEAST = 0.01  # the share of tissue below which a frame has no palette


class Palette(Settings, frozen=True):
    """Mean and spread of tissue's colors in L*a*b*."""

    mean: Triple
    std: Triple

    @classmethod
    def of(cls, image: RGB8 | ColorCounts, sample: int = _SAMPLE) -> Palette | None:
        """The palette of an image, or None where too little of it (1 %) is tissue.

        Parameters
        ----------
        image
            uint8 (height, width, 3), of which about `sample` pixels are looked at, evenly spread; or a whole histogram.
        """
        if isinstance(image, ColorCounts):
            return cls._of_colors(image.colors, image.weights)
        height, width = image.shape[:2]
        step = max(1, int(np.sqrt(height * width / sample)))
        some = image[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
        return cls._of_colors(some, np.ones(len(some)))

    @classmethod
    def _of_colors(cls, colors: RGB8, weights: Weights) -> Palette | None:
        lab = rgb_to_lab(colors)
        tissue = (lab[:, 0] < _TISSUE_BELOW_L) & ~is_ink(colors)
        if not len(colors) or weights[tissue].sum() < _LEAST * weights.sum():
            return None
        (a, b, c), (d, e, f) = mean_and_std(lab[tissue], weights[tissue])
        return cls(mean=(float(a), float(b), float(c)), std=(float(d), float(e), float(f)))

    def distance(self, other: Palette) -> float:
        """How far two palettes are apart, in units of L*a*b* (CIE 1976 color difference).

        The 2-Wasserstein distance of normal distributions with these means and spreads: between palettes that differ in
        their means only, it is the color difference of the means.
        """
        return float(np.linalg.norm(np.subtract(self.mean + self.std, other.mean + other.std)))


class Survey(Settings, frozen=True):
    """What the frames were that statistics come from."""

    frames: int
    """How many held enough tissue to count."""
    skipped: int
    """How many did not."""
    palette: Palette
    """Of all frames together."""
    spread: Distance
    """Mean distance of a frame's palette from that of all; see `Palette.distance`."""
    reach: Distance
    """The greatest such distance: frames farther away than all of these are out of range."""
    converged: Distance
    """Distance between the palettes of every other frame and of the rest: what more frames may still change."""
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    note: str = ""
    license: str = ""

    def drift(self, frame: RGB8) -> float | None:
        """How far a frame is from these, in units of L*a*b*; None if it shows too little tissue to tell.

        Up to `reach` it is one like these. Costs a millisecond, whatever the frame's size.
        """
        palette = Palette.of(frame)
        return None if palette is None else self.palette.distance(palette)


def gather(frames: Iterable[RGB8]) -> tuple[ColorCounts, Survey | None]:
    """Count the colors of the frames that hold tissue, in one pass, and say what they were.

    Returns
    -------
    Their histogram, and the survey; None if no frame held tissue.
    """
    halves = [ColorCounts.gather(()), ColorCounts.gather(())]
    palettes: list[Palette] = []
    skipped = 0
    for frame in frames:
        palette = Palette.of(frame)
        if palette is None:
            skipped += 1
        else:
            halves[len(palettes) % 2] += ColorCounts.of(frame)
            palettes.append(palette)
    return halves[0] + halves[1], _survey(halves, palettes, skipped)


def _survey(halves: Sequence[ColorCounts], palettes: Sequence[Palette], skipped: int) -> Survey | None:
    whole, *parts = (Palette.of(each) for each in (halves[0] + halves[1], *halves))
    if whole is None:
        return None
    distances = [whole.distance(each) for each in palettes]
    odd, even = (part or whole for part in parts)
    return Survey(
        frames=len(palettes),
        skipped=skipped,
        palette=whole,
        spread=float(np.mean(distances)),
        reach=max(distances),
        converged=odd.distance(even),
    )
