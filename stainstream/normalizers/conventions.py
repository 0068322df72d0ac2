"""The conventions in which implementations of one method differ, and the named profiles that gather them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np

from stainstream.color.lut import Colors, Rounding
from stainstream.color.spaces import by_level, to_opencv_lab
from stainstream.color.stats import Interpolation
from stainstream.color.tissue import Mask, is_ink
from stainstream.config import Settings
from stainstream.errors import UsageError
from stainstream.frame import RGB8

__all__ = ["PROFILES", "Conventions", "Profile", "conventions", "profile_of"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Percentage = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class Conventions(Settings, frozen=True):
    """What a method's equations leave open; the defaults are those of the profile ``"torchstain"``."""

    lab: Literal["cie", "opencv8"] = "cie"
    """L*a*b* in floating point, or OpenCV's of 8 bits a channel, truncated on the way back."""
    tissue_only: bool = False
    """Whether Reinhard's statistics are those of tissue alone; the other methods always look at tissue."""
    tissue: Literal["density", "luminosity"] = "density"
    """Tissue is what has all channels' optical density at or above `threshold`, or L* / 100 below it."""
    threshold: Positive = 0.15
    skip_ink: bool = False
    """Whether colors of marker ink, and black, are left out of the statistics of tissue."""
    least_tissue: Share = 0.01
    """The least share of tissue (ink aside) in what is fitted; with less, there is nothing to learn."""
    white: Positive = 240.0
    """The level of light that nothing absorbed, Io."""
    offset: Literal[0, 1] = 1
    """Added to levels before their logarithm is taken; without it, level 0 counts as level 1."""
    least_density: Annotated[float, msgspec.Meta(ge=-1.0)] = -1.0
    """Optical densities are raised to this at least; -1 raises none."""
    angles: tuple[Percentage, Percentage] = (1.0, 99.0)
    """Macenko: percentiles of the angle that are the stains, in percent."""
    interpolation: Interpolation = "nearest"
    """What lies between two order statistics, for every percentile."""
    unmix: Literal["lstsq", "lasso"] = "lstsq"
    """Concentrations by least squares, or non-negative and with an l1 penalty of `unmix_penalty`."""
    unmix_penalty: Annotated[float, msgspec.Meta(ge=0.0)] = 0.01
    dictionary_penalty: Annotated[float, msgspec.Meta(ge=0.0)] = 0.1
    """Vahadane: the l1 penalty while the stains are looked for, lambda."""
    full: Percentage = 99.0
    """The percentile of each stain's concentration, over all pixels, that is made equal; in percent."""
    standardize: Percentage = 0.0
    """Unless 0, L* is first stretched such that this percentile of it, in percent, is white (as StainTools can)."""
    rounding: Rounding = "truncate"
    """How levels become integers in the end."""
    keep_glass: bool = True
    """Whether glass and black stay as they are; see `stainstream.color.tissue.keep_glass`."""

    def density(self, rgb: Colors | RGB8) -> Colors:
        """Optical density of colors in [0, 1], or bytes, any shape: the natural logarithm of `white` over the level."""
        return by_level(self._density, rgb)

    def _density(self, rgb: Colors) -> Colors:
        levels = rgb * 255.0 + 1.0 if self.offset else np.maximum(rgb * 255.0, 1.0)
        return np.asarray(np.maximum(-np.log(levels / self.white), self.least_density))

    def color(self, density: Colors) -> Colors:
        """Colors of optical densities: the inverse of `density`, but for `offset`, which nobody takes off again."""
        # Below -1 all is white: an ill-conditioned fit must not overflow.
        return np.asarray(np.exp(-np.maximum(density, -1.0)) * (self.white / 255.0))

    def is_tissue(self, colors: RGB8) -> Mask:
        """Which colors the statistics are taken of: uint8 (n, 3) to bool (n,)."""
        if self.tissue == "luminosity":
            mask: Mask = (np.arange(256) / 255.0 < self.threshold)[to_opencv_lab(colors)[:, 0]]
        else:
            dense = self._density(np.arange(256) / 255.0) >= self.threshold
            mask = dense[colors[:, 0]] & dense[colors[:, 1]] & dense[colors[:, 2]]
        return mask & ~is_ink(colors) if self.skip_ink else mask


PROFILES: Mapping[str, Conventions] = {
    "torchstain": Conventions(),
    "staintools": Conventions(
        lab="opencv8",
        tissue="luminosity",
        threshold=0.8,
        white=255.0,
        offset=0,
        least_density=1e-6,
        interpolation="linear",
        unmix="lasso",
        keep_glass=False,
    ),
    "stream": Conventions(
        tissue_only=True,
        tissue="luminosity",
        threshold=0.8,
        skip_ink=True,
        white=255.0,
        offset=0,
        interpolation="linear",
        rounding="nearest",
    ),
}
"""``"torchstain"``: torchstain 1.4.1 (and stainx 0.1.6), but glass is kept. ``"staintools"``: StainTools 2.1.2 to the
digit, which the paper's Table 1 was made with. ``"stream"``: what we recommend for a live feed, namely StainTools' mask
and white, plain least squares, and statistics of nothing but tissue."""

Profile = str | Conventions
"""A profile's name, or conventions of one's own."""


def conventions(profile: Profile) -> Conventions:
    """The conventions of a profile.

    Raises
    ------
    UsageError
        If no profile has this name.
    """
    if isinstance(profile, Conventions):
        return profile
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", f"known are {', '.join(PROFILES)}")
    return PROFILES[profile]


def profile_of(settings: Conventions) -> str:
    """The name of the profile that these conventions are closest to; their differences are settings of one's own."""

    def differences(name: str) -> int:
        other = PROFILES[name]
        return sum(getattr(settings, key) != getattr(other, key) for key in Conventions.__struct_fields__)

    return min(PROFILES, key=differences)
