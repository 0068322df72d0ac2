"""Methods that see colors as two stains, each absorbing its own hue (Beer and Lambert's law)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from stainstream.color.histogram import Weights
from stainstream.color.lut import Colors
from stainstream.color.spaces import mixed
from stainstream.color.stats import Values, percentiles
from stainstream.frame import RGB8

from .conventions import Conventions
from .fitted import Fitted, Statistics

__all__ = ["Stains", "TwoStains", "as_rows", "check", "codes", "ordered", "unmix"]

Triple = tuple[float, float, float]

_LEAST_ANGLE = 2.0  # degrees; below, concentrations are noise


class Stains(Statistics, frozen=True, kw_only=True):
    """Two stains and how much of them there is."""

    stains: tuple[Triple, Triple]
    """Optical density of each in red, green and blue: hematoxylin (the redder absorber) and eosin, of length 1."""
    full: tuple[float, float]
    """The concentration that counts as full, of each."""

    def __post_init__(self) -> None:
        check(self.stains)
        if not np.isfinite(self.full).all() or min(self.full) <= 0:
            raise ValueError("full is not above 0 for both stains: one of them is missing")


def check(stains: Sequence[Sequence[float]]) -> None:
    """Check that stains can be told apart.

    Raises
    ------
    ValueError
        If one is no vector of length 1, or both are nearly one.
    """
    rows = np.array(stains)
    if not np.isfinite(rows).all() or not np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3):
        raise ValueError("stains are not vectors of length 1")
    angle = np.degrees(np.arccos(np.clip(rows[0] @ rows[1], -1.0, 1.0)))
    if angle < _LEAST_ANGLE:
        raise ValueError(f"stains are only {angle:.1f} degrees apart: there seems to be one stain only")


@dataclass(frozen=True)
class TwoStains(Fitted[Stains]):
    """Gives each stain of the source the target's hue, and the target's full concentration for its own."""

    kind: ClassVar[type[Statistics]] = Stains

    @classmethod
    @abstractmethod
    def find(cls, density: Values, weights: Weights, settings: Conventions) -> Values:
        """Find the stains in tissue.

        Parameters
        ----------
        density
            Optical densities, (n, 3), n at least 1.
        weights
            Shape (n,).

        Returns
        -------
        Shape (2, 3), rows of any length and order.

        Raises
        ------
        ValueError
            If they cannot be found.
        """

    @classmethod
    def measure(cls, colors: RGB8, weights: Weights, settings: Conventions) -> Stains:
        tissue = np.flatnonzero(settings.is_tissue(colors))
        density = settings.density(colors)
        stains = ordered(cls.find(density[tissue], weights[tissue], settings))
        check(stains.tolist())
        full = [
            percentiles(each, weights, (settings.full,), settings.interpolation)[0]
            for each in unmix(density, stains, settings).T
        ]
        return Stains(stains=as_rows(stains), full=(full[0], full[1]))

    def _map(self, rgb: Colors) -> Colors:
        settings = self.conventions
        density = settings.density(rgb)
        if settings.unmix == "lstsq":
            return settings.color(mixed(density, self._lstsq))
        return settings.color(mixed(unmix(density, np.array(self.source.stains), settings), self._goal))

    @cached_property
    def _goal(self) -> Values:
        """Shape (2, 3): densities of the target for a concentration of 1 of each of the source's stains."""
        ratio = np.array(self.target.full) / np.array(self.source.full)
        return np.asarray(ratio[:, None] * np.array(self.target.stains))

    @cached_property
    def _lstsq(self) -> Values:
        """Shape (3, 3): what becomes of densities, if concentrations are those of least squares."""
        return np.asarray(np.linalg.pinv(np.array(self.source.stains)) @ self._goal)


def unmix(density: Colors, stains: Values, settings: Conventions) -> Values:
    """Concentrations of the stains: densities (n, 3) and stains (2, 3) to shape (n, 2)."""
    if settings.unmix == "lstsq":
        return mixed(density, np.linalg.pinv(stains))
    return codes(density, stains, settings.unmix_penalty)


def codes(density: Colors, stains: Values, penalty: float) -> Values:
    """Non-negative concentrations c that minimize |density - c stains|^2 / 2 + penalty (c1 + c2), in closed form.

    Parameters
    ----------
    density
        Shape (n, 3).
    stains
        Shape (2, 3), no negative numbers, rows of length 1.
    penalty
        Lambda of the lasso.

    Returns
    -------
    Shape (n, 2).
    """
    overlap = float(stains[0] @ stains[1])
    gain = mixed(density, stains.T)
    gain -= penalty
    both = mixed(gain, np.linalg.inv(np.array([[1.0, overlap], [overlap, 1.0]])))
    # Where one would be negative it is 0, and the other stands alone (the Karush-Kuhn-Tucker conditions).
    return np.maximum(np.where(both[:, ::-1] < 0.0, gain, both), 0.0)


def ordered(stains: Values) -> Values:
    """Stains of length 1, hematoxylin first: the one that absorbs more red. Shape (2, 3)."""
    stains = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    return stains if stains[0, 0] > stains[1, 0] else stains[::-1]


def as_rows(stains: Values) -> tuple[Triple, Triple]:
    """Plain numbers of stains of shape (2, 3)."""
    (a, b, c), (d, e, f) = stains.tolist()
    return (a, b, c), (d, e, f)
