"""Macenko's normalization, with fixed statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stainstream.color.histogram import Weights
from stainstream.color.stats import Values, covariance, percentiles

from .conventions import Conventions
from .stains import TwoStains

__all__ = ["Macenko"]


@dataclass(frozen=True)
class Macenko(TwoStains):
    """Finds the stains as the extreme directions in the plane in which tissue's optical density varies most.

    Source: M. Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009.
    """

    name: str = "macenko"
    method: ClassVar[str] = "macenko"

    @classmethod
    def find(cls, density: Values, weights: Weights, settings: Conventions) -> Values:
        _, vectors = np.linalg.eigh(covariance(density, weights))
        plane = vectors[:, [2, 1]]
        plane = plane * np.where(plane[0] < 0.0, -1.0, 1.0)  # their sign is arbitrary; densities are positive
        first, second = (density @ plane).T
        angles = percentiles(np.arctan2(second, first), weights, settings.angles, settings.interpolation)
        return np.stack([plane @ [np.cos(angle), np.sin(angle)] for angle in angles])
