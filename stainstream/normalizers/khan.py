"""Khan's normalization, with fixed statistics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream import config
from stainstream.color.histogram import Weights
from stainstream.color.lut import Colors
from stainstream.color.spaces import mixed, to_opencv_lab
from stainstream.color.stats import Values, mean_and_std, percentiles
from stainstream.frame import RGB8

from .conventions import Conventions
from .fitted import Fitted, Statistics
from .spline import Spline
from .stains import as_rows, check, codes

__all__ = ["Classifier", "Khan", "KhanStatistics", "describe", "features"]

Triple = tuple[float, float, float]
Spread = Annotated[tuple[Triple, ...], msgspec.Meta(min_length=2, max_length=3)]
Vector = Annotated[list[float], msgspec.Meta(min_length=22, max_length=22)]

_GLASS, _HEMATOXYLIN, _EOSIN, _UNSURE = range(4)
_TISSUE_BELOW = 204  # OpenCV's 8-bit L*, for 80
_SURE = 0.75  # a pixel has a class if its probability is above this
_LEAST_SHARE = 0.001  # of the pixels for a class to have statistics
_PERCENTILES = (5.0, 50.0, 95.0)
_STIFFNESS = (1 - 9e-6) / 9e-6  # the authors' csaps(..., 0.000009)
_ENDS = np.array([-100.0, 1000.0])  # levels far outside stay where they are
_LEAST_LEVEL = 0.1  # of a stain, where its spline would go below


class Classifier(config.Settings, frozen=True):
    """Multinomial logistic regression of a pixel's stain on its color and on the image's stain color descriptor."""

    glass: Vector
    hematoxylin: Vector
    eosin: Vector
    """Weights of `features`, each."""

    def classes(self, colors: RGB8, descriptor: Values) -> NDArray[np.intp]:
        """Glass 0, hematoxylin 1, eosin 2 or unsure 3, of colors (n, 3): shape (n,)."""
        scores = features(colors, descriptor) @ np.array([self.glass, self.hematoxylin, self.eosin]).T
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        sure = odds.max(axis=1) > _SURE * odds.sum(axis=1)
        return np.where(sure, odds.argmax(axis=1), _UNSURE)


def describe(colors: RGB8, weights: Weights) -> Values:
    """The stain color descriptor of an image: the mean optical density of its tissue, shape (3,).

    Parameters
    ----------
    colors
        uint8 (n, 3).
    weights
        Shape (n,).

    Raises
    ------
    ValueError
        If nothing is dark enough for tissue.
    """
    tissue = to_opencv_lab(colors)[:, 0] < _TISSUE_BELOW
    if not tissue.any():
        raise ValueError("nothing is dark enough for tissue")
    return np.asarray(weights[tissue] @ _density(colors[tissue]) / weights[tissue].sum())


def features(colors: RGB8, descriptor: Values) -> Values:
    """What the classifier sees of uint8 colors (n, 3): shape (n, 22), quadratic in density, bilinear in descriptor."""
    red, green, blue = np.ascontiguousarray(_density(colors).T)
    linear = [np.ones(len(colors)), red, green, blue]
    squares = [red * red, green * green, blue * blue, red * green, red * blue, green * blue]
    return np.stack([*linear, *squares, *(each * one for one in descriptor for each in linear)], axis=1)


def _density(colors: RGB8) -> Values:
    return np.asarray(-np.log((np.arange(256) + 1.0) / 256.0)[colors])


@cache
def _shipped() -> Classifier:
    return config.read(Path(__file__).with_name("khan_he.toml"), Classifier)


class KhanStatistics(Statistics, frozen=True, kw_only=True):
    """Two stains, and levels of each where there is this stain, the other tissue and glass."""

    stains: tuple[Triple, Triple]
    """Optical density of hematoxylin and of eosin in red, green and blue, of length 1."""
    hematoxylin: Spread
    """Levels of light (255: none absorbed) of hematoxylin in hematoxylin, in other tissue and in glass, if there is
    any: percentiles 5, 50 and 95 of each."""
    eosin: Spread
    """Of eosin in eosin, in other tissue and in glass."""

    def __post_init__(self) -> None:
        check(self.stains)
        if not np.isfinite([each for stain in (self.hematoxylin, self.eosin) for each in stain]).all():
            raise ValueError("hematoxylin and eosin are not all numbers")


@dataclass(frozen=True)
class Khan(Fitted[KhanStatistics]):
    """Finds the stains with a classifier of pixels, and bends each stain's levels with a spline.

    Source: A. M. Khan et al., A nonlinear mapping approach to stain normalization in digital histopathology images
    using image-specific color deconvolution, IEEE Transactions on Biomedical Engineering 61(6), 2014, with the numbers
    of the authors' Stain Normalisation Toolbox. The classifier is ours; docs/normalizers.md says what else differs.
    """

    name: str = "khan"
    method: ClassVar[str] = "khan"
    kind: ClassVar[type[Statistics]] = KhanStatistics

    @classmethod
    def measure(cls, colors: RGB8, weights: Weights, settings: Conventions) -> KhanStatistics:
        classes = _shipped().classes(colors, describe(colors, weights))
        stains = np.stack([_stain(colors, weights, classes == each) for each in (_HEMATOXYLIN, _EOSIN)])
        check(stains.tolist())
        hematoxylin, eosin = _levels(codes(settings.density(colors), stains, 0.0)).T
        return KhanStatistics(
            stains=as_rows(stains),
            hematoxylin=_spread(hematoxylin, weights, classes, _HEMATOXYLIN, settings),
            eosin=_spread(eosin, weights, classes, _EOSIN, settings),
        )

    def _map(self, rgb: Colors) -> Colors:
        density, stains = self.conventions.density(rgb), np.array(self.source.stains)
        before = codes(density, stains, 0.0)
        levels = np.stack([bend(each) for bend, each in zip(self._splines, _levels(before).T, strict=True)])
        after = -np.log(np.clip(levels, _LEAST_LEVEL, 255.0) / 255.0).T
        # What is neither stain thins out with them: a residue of black would outshine the little that is left of it.
        thinner = np.minimum((after[:, 0] + after[:, 1]) / np.maximum(before[:, 0] + before[:, 1], 1e-9), 1.0)
        neither = density - mixed(before, stains)
        return self.conventions.color(mixed(after, np.array(self.target.stains)) + neither * thinner[:, None])

    @cached_property
    def _splines(self) -> tuple[Spline, Spline]:
        source, target = self.source, self.target
        return _bend(source.hematoxylin, target.hematoxylin), _bend(source.eosin, target.eosin)


def _stain(colors: RGB8, weights: Weights, mine: NDArray[np.bool_]) -> Values:
    if weights[mine].sum() < _LEAST_SHARE * weights.sum():
        raise ValueError("there is too little that the classifier takes for hematoxylin, or for eosin")
    mean, _ = mean_and_std(colors[mine] / 255.0, weights[mine])
    density = -np.log(mean + 1 / 256)
    return np.asarray(density / np.linalg.norm(density))


def _levels(amounts: Values) -> Values:
    """Levels of light that concentrations let through, 255 being all."""
    return np.asarray(255.0 * np.exp(-amounts))


def _spread(
    levels: Values, weights: Weights, classes: NDArray[np.intp], mine: int, settings: Conventions
) -> tuple[Triple, ...]:
    glass = classes == _GLASS
    masks = (classes == mine, (classes != mine) & ~glass, glass)
    return tuple(_three(levels[mask], weights[mask], settings) for mask in masks if mask.any())


def _three(levels: Values, weights: Weights, settings: Conventions) -> Triple:
    low, middle, high = percentiles(levels, weights, _PERCENTILES, settings.interpolation)
    return low, middle, high


def _bend(source: tuple[Triple, ...], target: tuple[Triple, ...]) -> Spline:
    common = min(len(source), len(target))  # without glass on one side, what it looks like on the other is no help
    x, y = (np.concatenate([_ENDS, *side[:common]]) for side in (source, target))
    return Spline.smooth(x, y, _STIFFNESS)
