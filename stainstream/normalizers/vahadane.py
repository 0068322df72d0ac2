"""Vahadane's normalization, with fixed statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stainstream.color.histogram import Weights
from stainstream.color.stats import Values

from .conventions import Conventions
from .ruifrok import EOSIN, HEMATOXYLIN
from .stains import TwoStains, codes

__all__ = ["Vahadane"]


@dataclass(frozen=True)
class Vahadane(TwoStains):
    """Finds the stains as the sparse non-negative factors of tissue's optical density.

    They minimize the mean of |density - c stains|^2 / 2 + lambda (c1 + c2) over non-negative concentrations c and
    stains of at most unit length: the problem that SPAMS' ``trainDL`` solves by random steps. Here the concentrations
    have a closed form, and SciPy's L-BFGS-B moves the stains; the result is the same every time.

    Source: A. Vahadane et al., Structure-preserving color normalization and sparse stain separation for histological
    images, IEEE Transactions on Medical Imaging 35(8), 2016.
    """

    name: str = "vahadane"
    method: ClassVar[str] = "vahadane"

    @classmethod
    def find(cls, density: Values, weights: Weights, settings: Conventions) -> Values:
        from scipy.optimize import minimize

        if not len(density):
            raise ValueError("none of it is tissue under these conventions")
        start = np.array([HEMATOXYLIN, EOSIN])
        share = weights / weights.sum()

        def loss(flat: Values) -> tuple[float, Values]:
            return _loss(flat.reshape(2, 3), density, share, settings.dictionary_penalty)

        found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 6)
        return np.asarray(found.x).reshape(2, 3)


def _loss(vectors: Values, density: Values, share: Weights, penalty: float) -> tuple[float, Values]:
    """What the best concentrations cost (less what is the same for all stains), and its slope along `vectors`.

    At the best concentrations their own slope is nil, so that only the stains' counts.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    stains = vectors / lengths
    amounts = codes(density, stains, penalty)
    weighted = amounts * share[:, None]
    seen, known = weighted.T @ density, weighted.T @ amounts
    cost = 0.5 * np.sum(known * (stains @ stains.T)) - np.sum(seen * stains) + penalty * weighted.sum()
    slope = known @ stains - seen
    along = np.sum(slope * stains, axis=1, keepdims=True)
    return float(cost), ((slope - along * stains) / lengths).ravel()
