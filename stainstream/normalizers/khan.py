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
from stainstream.color.stats import Values, mean_and_std, percentiles
from stainstream.frame import RGB8

from .conventions import Conventions
from .fitted import Fitted, Statistics
from .spline import Spline
from .stains import as_rows, check, codes

__all__ = ["Classifier", "Khan", "KhanStatistics", "features"]

Triple = tuple[float, float, float]
Spread = Annotated[tuple[Triple, ...], msgspec.Meta(min_length=2, max_length=3)]
Vector = Annotated[list[float], msgspec.Meta(min_length=14, max_length=14)]

_GLASS, _HEMATOXYLIN, _EOSIN, _UNSURE = range(4)
_SURE = 0.75  # a pixel has a class if its probability is above this
_LEAST_SHARE = 0.001  # of the pixels for a class to have statistics
_PERCENTILES = (5.0, 50.0, 95.0)
_STIFFNESS = (1 - 9e-6) / 9e-6  # the authors' csaps(..., 0.000009)
_ENDS = np.array([-100.0, 1000.0])  # levels far outside stay where they are
_LEAST_LEVEL = 0.1


class Classifier(config.Settings, frozen=True):
    """Multinomial logistic regression of a pixel's stain on its color and on the image's stain color descriptor."""

    palette: list[Triple]
    """Levels of the palette's colors, 0 to 255."""
    usual: list[float]
    """The mean histogram over the palette."""
    direction: list[float]
    """Where histograms differ most: the descriptor is how far an image's goes that way."""
    glass: Vector
    hematoxylin: Vector
    eosin: Vector
    """Weights of `features`, each."""

    def descriptor(self, colors: RGB8, weights: Weights) -> float:
        """The stain color descriptor of an image's tissue: colors (n, 3) and weights (n,) to one number."""
        palette = np.array(self.palette)
        nearest = np.argmax(colors @ palette.T - np.square(palette).sum(axis=1) / 2, axis=1)
        histogram = np.bincount(nearest, weights, len(self.palette)) / weights.sum()
        return float((histogram - self.usual) @ np.array(self.direction))

    def classes(self, colors: RGB8, descriptor: float) -> NDArray[np.intp]:
        """Glass 0, hematoxylin 1, eosin 2 or unsure 3, of colors (n, 3): shape (n,)."""
        scores = features(colors, descriptor) @ np.array([self.glass, self.hematoxylin, self.eosin]).T
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        sure = odds.max(axis=1) > _SURE * odds.sum(axis=1)
        return np.where(sure, odds.argmax(axis=1), _UNSURE)


def features(colors: RGB8, descriptor: float) -> Values:
    """What the classifier sees: uint8 colors (n, 3) to (n, 14), quadratic in density and bilinear in the descriptor."""
    density = -np.log((np.arange(256) + 1.0) / 256.0)[colors]
    red, green, blue = density.T
    squares = [red * red, green * green, blue * blue, red * green, red * blue, green * blue]
    one = np.ones(len(colors))
    return np.stack([one, red, green, blue, *squares, *(each * descriptor for each in (one, red, green, blue))], axis=1)


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
        tissue = settings.is_tissue(colors)
        classifier = _shipped()
        classes = classifier.classes(colors, classifier.descriptor(colors[tissue], weights[tissue]))
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
        levels = [bend(each) for bend, each in zip(self._splines, _levels(before).T, strict=True)]
        after = -np.log(np.clip(np.stack(levels, axis=1), _LEAST_LEVEL, 255.0) / 255.0)
        # What is neither stain thins out with them: a residue of black would outshine the little that is left of it.
        thinner = np.minimum(after.sum(axis=1) / np.maximum(before.sum(axis=1), 1e-9), 1.0)
        neither = density - before @ stains
        return self.conventions.color(after @ np.array(self.target.stains) + neither * thinner[:, None])

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
