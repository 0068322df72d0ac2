"""Reinhard's color transfer, with fixed statistics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stainstream.color.histogram import ColorCounts, Weights
from stainstream.color.lut import Colors, quantize
from stainstream.color.spaces import from_opencv_lab, rgb_to_lab, scale_lab, to_opencv_lab
from stainstream.color.stats import Values, mean_and_std
from stainstream.errors import FrameError
from stainstream.frame import RGB8

from .conventions import Conventions
from .fitted import Fitted, Images, Statistics, tissue_share

__all__ = ["LabStatistics", "Reinhard"]

Triple = tuple[float, float, float]

_LEAST_STD = 1e-6  # what rounding leaves of the spread of one color is less

_LINES = 32  # of a single image in which tissue is looked for first
_CLEARLY = 4  # times as much tissue in them as must be leaves no doubt about the whole

_OPENCV_SCALE, _OPENCV_SHIFT = np.array([2.55, 1.0, 1.0]), np.array([0.0, 128.0, 128.0])
# Shape (256, 3): L*, a* and b* of OpenCV's 8 bits; in float32 as StainTools has it, since all is truncated in the end.
_OPENCV_UNITS = np.stack([np.arange(256, dtype=np.float32) / np.float32(2.55), *[np.arange(256.0) - 128.0] * 2], axis=1)


class LabStatistics(Statistics, frozen=True, kw_only=True):
    """Mean and spread in L*a*b*."""

    mean: Triple
    """L* (0 to 100), a* and b* (about -100 to 100)."""
    std: Triple
    """Population standard deviations."""

    def __post_init__(self) -> None:
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) < _LEAST_STD:
            raise ValueError("std is not above 0 in all of L*, a* and b*: these are images of one color only")


@dataclass(frozen=True)
class Reinhard(Fitted[LabStatistics]):
    """Moves mean and spread of L*a*b* from the source's to the target's.

    Source: E. Reinhard et al., Color transfer between images, IEEE Computer Graphics and Applications 21(5), 2001; in
    CIE L*a*b* as the paper's comparison (StainNet, section 3) and StainTools have it.
    """

    name: str = "reinhard"
    method: ClassVar[str] = "reinhard"
    kind: ClassVar[type[Statistics]] = LabStatistics

    @classmethod
    def study(cls, images: Images, settings: Conventions, side: str = "images") -> LabStatistics:
        """As of every method; a single image under StainTools' conventions is looked at directly, which is faster."""
        if not isinstance(images, np.ndarray) or images.ndim != 3 or not _is_plain(settings):
            return super().study(images, settings, side)
        step = max(1, len(images) // _LINES)
        if not tissue_share(ColorCounts.of(images[::step]), settings) > _CLEARLY * settings.least_tissue:
            return super().study(images, settings, side)
        mean, std = _opencv_mean_and_std(_occurrences(to_opencv_lab(images)))
        try:
            return LabStatistics(mean=_triple(mean), std=_triple(std))
        except ValueError as error:
            raise FrameError(f"cannot fit {cls.method} to the {side}", str(error)) from error

    @classmethod
    def measure(cls, colors: RGB8, weights: Weights, settings: Conventions) -> LabStatistics:
        if settings.tissue_only:
            tissue = settings.is_tissue(colors)
            colors, weights = colors[tissue], weights[tissue]
        if settings.lab == "opencv8":
            lab = to_opencv_lab(colors)
            mean, std = _opencv_mean_and_std(
                [np.bincount(lab[:, k], weights, 256).astype(np.float64) for k in range(3)]
            )
        else:
            mean, std = mean_and_std(rgb_to_lab(colors), weights)
        return LabStatistics(mean=_triple(mean), std=_triple(std))

    def _map(self, rgb: Colors) -> Colors:
        if self.conventions.lab == "opencv8":
            lab = to_opencv_lab(quantize(rgb))
            moved = np.stack([self._levels[:, k].take(lab[:, k]) for k in range(3)], axis=1)
            return np.divide(from_opencv_lab(moved), 255.0, dtype=rgb.dtype)
        scale = np.array(self.target.std) / np.array(self.source.std)
        return scale_lab(rgb, scale, np.array(self.target.mean) - scale * np.array(self.source.mean))

    @cached_property
    def _levels(self) -> NDArray[np.uint8]:
        """Shape (256, 3): what becomes of each level of OpenCV's L*, a* and b*."""
        scale = np.array(self.target.std) / np.array(self.source.std)
        moved = (_OPENCV_UNITS - np.array(self.source.mean)) * scale + np.array(self.target.mean)
        levels: NDArray[np.uint8] = np.clip(moved * _OPENCV_SCALE + _OPENCV_SHIFT, 0, 255).astype(np.uint8)
        return levels


def _is_plain(settings: Conventions) -> bool:
    """Whether the statistics are those of all pixels in OpenCV's L*a*b*."""
    return settings.lab == "opencv8" and not settings.tissue_only and not settings.standardize


def _occurrences(lab: NDArray[np.uint8]) -> list[Weights]:
    """How often each level of each channel occurs: shape (height, width, 3) to three of (256,)."""
    import cv2

    return [cv2.calcHist([lab], [k], None, [256], [0, 256]).ravel().astype(np.float64) for k in range(3)]


def _opencv_mean_and_std(masses: list[Weights]) -> tuple[Values, Values]:
    """Of levels that occur so often, for each channel."""
    each = [mean_and_std(_OPENCV_UNITS[:, k : k + 1], mass) for k, mass in enumerate(masses)]
    return np.concatenate([mean for mean, _ in each]), np.concatenate([std for _, std in each])


def _triple(values: Values) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
