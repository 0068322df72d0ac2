"""Ruifrok and Johnston's color deconvolution, with fixed stains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stainstream.color.histogram import Weights
from stainstream.color.stats import Values

from .conventions import Conventions
from .stains import TwoStains

__all__ = ["EOSIN", "HEMATOXYLIN", "Ruifrok"]

HEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Optical densities in red, green and blue as the authors measured them, rounded as in scikit-image."""


@dataclass(frozen=True)
class Ruifrok(TwoStains):
    """Takes the stains' hue from the book, and only how much of them there is from the images.

    Source: A. C. Ruifrok and D. A. Johnston, Quantification of histochemical staining by color deconvolution,
    Analytical and Quantitative Cytology and Histology 23(4), 2001.
    """

    name: str = "ruifrok"
    method: ClassVar[str] = "ruifrok"

    @classmethod
    def find(cls, density: Values, weights: Weights, settings: Conventions) -> Values:  # noqa: ARG003
        return np.array([HEMATOXYLIN, EOSIN])
