"""Methods that are fitted: statistics of where colors come from and of where they shall go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar, cast

import msgspec
import numpy as np

from stainstream.color.histogram import ColorCounts, Weights
from stainstream.color.lut import Colors, Rounding, quantize
from stainstream.color.spaces import from_opencv_lab, to_opencv_lab
from stainstream.color.stats import percentiles
from stainstream.color.survey import Survey
from stainstream.color.tissue import is_ink, keep_glass
from stainstream.config import Settings
from stainstream.errors import FrameError, UsageError
from stainstream.frame import RGB8

from .conventions import PROFILES, Conventions, Profile, conventions

__all__ = ["Fitted", "Images", "Reference", "Statistics", "enough_tissue", "tissue_share"]

Images: TypeAlias = RGB8 | ColorCounts | Iterable[RGB8 | ColorCounts]
"""uint8 images (height, width, 3) or their histograms: one, several, or a batch; a histogram stands for many images."""

_IN_USE_ONLY = {"keep_glass", "least_tissue", "rounding"}  # conventions that no statistic depends on


class Statistics(Settings, frozen=True):
    """What a method knows of one side, in plain numbers."""

    bright: float = 255.0
    """OpenCV's 8-bit L* that is stretched to white, if the conventions say so."""


S = TypeVar("S", bound=Statistics)


@dataclass(frozen=True)
class Reference:
    """How a target looks, for one method or several, without its images."""

    statistics: Mapping[str, Statistics]
    """By the method's name."""
    conventions: Conventions
    """Under which they were taken."""
    name: str = ""
    survey: Survey | None = None
    """What the images were."""


@dataclass(frozen=True)
class Fitted(ABC, Generic[S]):
    """A pixelwise method with its statistics; called with colors, it maps each on its own."""

    source: S
    target: S
    conventions: Conventions = field(default=PROFILES["torchstain"])
    name: str = ""
    survey: Survey | None = field(default=None, compare=False, kw_only=True)
    """What the frames of the source were, if known."""

    method: ClassVar[str]
    """The method's name, in tables and files."""
    kind: ClassVar[type[Statistics]]
    """What its statistics are."""

    @classmethod
    def fit(cls, frames: Images, target: Images | Reference | S, profile: Profile | None = None) -> Self:
        """Take the statistics of some frames, and of one target image or more.

        Every frame has the same weight, whatever its size; a histogram weighs what was put into it.

        Parameters
        ----------
        frames
            What is to be normalized.
        target
            What it shall look like: images, statistics, or a reference that was saved.
        profile
            The conventions, or a profile's name; by default those of the reference, else ``"torchstain"``.

        Raises
        ------
        FrameError
            If one side has too little tissue, or colors from which the statistics cannot be told.
        UsageError
            If the profile is not known, or the reference has nothing for this method, or under other conventions.
        """
        settings = conventions(profile or (target.conventions if isinstance(target, Reference) else "torchstain"))
        return cls(cls.study(frames, settings, "source"), cls.goal(target, settings), settings, cls.method)

    @classmethod
    def study(cls, images: Images, settings: Conventions, side: str = "images") -> S:
        """The statistics of some images, under `settings`; `side` is what errors call them."""
        counts = ColorCounts.gather(images)
        asked = f"cannot fit {cls.method} to the {side}"
        if not enough_tissue(counts, settings):
            raise FrameError(
                asked,
                f"{100 * tissue_share(counts, settings):.2f} % of it is tissue, "
                f"and the setting least_tissue asks for {100 * settings.least_tissue:g} %",
            )
        colors, bright = counts.colors, 255.0
        if settings.standardize:
            bright = _bright(colors, counts.weights, settings)
            colors = _standardized(colors, bright)
            if not settings.is_tissue(colors).any():
                raise FrameError(asked, "with its luminosity standardized, none of it is tissue")
        try:
            return msgspec.structs.replace(cls.measure(colors, counts.weights, settings), bright=bright)
        except ValueError as error:
            raise FrameError(asked, str(error)) from error

    @classmethod
    @abstractmethod
    def measure(cls, colors: RGB8, weights: Weights, settings: Conventions) -> S:
        """The statistics of colors that stand for `weights` pixels each.

        Parameters
        ----------
        colors
            uint8 (n, 3), of which some is tissue.
        weights
            Shape (n,).

        Raises
        ------
        ValueError
            If the colors do not tell.
        """

    @abstractmethod
    def _map(self, rgb: Colors) -> Colors:
        """Map colors of shape (n, 3) in [0, 1]; values may leave [0, 1]."""

    def __call__(self, rgb: Colors) -> Colors:
        """Map colors of shape (..., 3) in [0, 1] to the same shape; values may leave [0, 1]."""
        flat = rgb.reshape(-1, 3)
        given = flat
        if self.conventions.standardize:
            given = np.divide(_standardized(quantize(flat), self.source.bright), 255.0, dtype=flat.dtype)
        mapped = self._map(given)
        return (keep_glass(flat, mapped) if self.conventions.keep_glass else mapped).reshape(rgb.shape)

    def draft(self, rgb: Colors) -> Colors:
        """The same in float32; see `stainstream.color.lut.Drafting`."""
        return self(rgb)

    @property
    def rounding(self) -> Rounding:
        """How levels become integers."""
        return self.conventions.rounding

    @classmethod
    def goal(cls, target: Images | Reference | S, settings: Conventions) -> S:
        """The statistics of a target, under `settings`; see `fit`."""
        if isinstance(target, Reference):
            return cls._of_reference(target, settings)
        if not isinstance(target, Statistics):
            return cls.study(target, settings, "target")
        if not isinstance(target, cls.kind):
            raise UsageError(
                f"cannot fit {cls.method}", f"its target is {type(target).__name__}, not {cls.kind.__name__}"
            )
        return target

    @classmethod
    def _of_reference(cls, target: Reference, settings: Conventions) -> S:
        if cls.method not in target.statistics:
            known = ", ".join(target.statistics) or "none"
            raise UsageError(f"cannot use reference {target.name!r} for {cls.method}", f"it has statistics for {known}")
        differing = [
            key
            for key in Conventions.__struct_fields__
            if key not in _IN_USE_ONLY and getattr(settings, key) != getattr(target.conventions, key)
        ]
        if differing:
            raise UsageError(
                f"cannot use reference {target.name!r}",
                f"it was taken under other conventions ({', '.join(differing)})",
                "leave the profile out, to fit under those of the reference",
            )
        return cast("S", target.statistics[cls.method])


def tissue_share(counts: ColorCounts, settings: Conventions) -> float:
    """The share, 0 to 1, of what is tissue under `settings` and not ink; 0 if nothing was counted."""
    if not len(counts):
        return 0.0
    colors = counts.colors
    tissue = settings.is_tissue(colors) & ~is_ink(colors)
    return float(counts.shares[tissue].sum() / counts.shares.sum())


def enough_tissue(counts: ColorCounts, settings: Conventions) -> bool:
    """Whether there is tissue enough for statistics; while not, a live estimate keeps the last good ones."""
    return (share := tissue_share(counts, settings)) > 0.0 and share >= settings.least_tissue


def _bright(colors: RGB8, weights: Weights, settings: Conventions) -> float:
    lightness = to_opencv_lab(colors)[:, 0].astype(np.float64)
    return percentiles(lightness, weights, (settings.standardize,), settings.interpolation)[0]


def _standardized(colors: RGB8, bright: float) -> RGB8:
    lab = to_opencv_lab(colors)
    lab[..., 0] = np.minimum(255.0 * lab[..., 0] / bright, 255.0).astype(np.uint8)
    return from_opencv_lab(lab)
