"""What some frames were: how many, how much of them is tissue, of which colors, and how much they differ."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from stainstream.config import Settings
from stainstream.frame import RGB8

if TYPE_CHECKING:  # models' cards hold surveys: reading one must not wait for a compiler
    from .histogram import ColorCounts, Weights

__all__ = ["Palette", "Survey"]

Triple = tuple[float, float, float]
Distance = Annotated[float, msgspec.Meta(ge=0.0)]

_TISSUE_BELOW_L = 80.0  # lighter colors are glass; the threshold of StainTools and tiatoolbox
_SAMPLE = 4096  # pixels of a frame that are looked at
_GLANCE = 1024  # of a live frame: a quarter of the time, half a unit of L*a*b* less exact
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
        if not isinstance(image, np.ndarray):
            return cls._of_colors(image.colors, image.weights)
        height, width = image.shape[:2]
        step = max(1, int(np.sqrt(height * width / sample)))
        some = image[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
        return cls._of_colors(some, np.ones(len(some)))

    @classmethod
    def _of_colors(cls, colors: RGB8, weights: Weights) -> Palette | None:
        from .spaces import rgb_to_lab
        from .stats import mean_and_std
        from .tissue import is_ink

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
    """The distance within which 99 % of the frames are: those farther away are out of range."""
    converged: Distance
    """Distance between the palettes of every other stretch of frames and of the rest: what more frames may still
    change. A stretch is one frame, or of more than 8 a fourth to an eighth of them, since neighbors are alike."""
    date: str = msgspec.field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    note: str = ""
    license: str = ""

    def drift(self, frame: RGB8) -> float | None:
        """How far a frame is from these, in units of L*a*b*; None if it shows too little tissue to tell.

        Up to `reach` it is one like these. Costs some hundredths of a millisecond, whatever the frame's size.
        """
        from .glance import glance

        height, width = frame.shape[:2]
        step = max(1, int(math.sqrt(height * width / _GLANCE)))
        seen = glance(frame, step, _TISSUE_BELOW_L, _LEAST)
        if seen is None:
            return None
        own = self.palette
        return math.dist((*own.mean, *own.std), (*seen[0], *seen[1]))
