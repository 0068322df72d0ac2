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

_STEPS = (32, 1)  # every 32nd color first: most of the way costs little then


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

        flat = np.array([*HEMATOXYLIN, *EOSIN])
        for step in _STEPS:
            share = weights[::step] / weights[::step].sum()
            known = (density[::step], share, settings.dictionary_penalty)
            flat = minimize(_loss, flat, known, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 6).x
        return np.asarray(flat).reshape(2, 3)


def _loss(flat: Values, density: Values, share: Weights, penalty: float) -> tuple[float, Values]:
    """What the best concentrations cost (less what is the same for all stains), and its slope along the stains.

    At the best concentrations their own slope is nil, so that only the stains' counts.
    """
    vectors = flat.reshape(2, 3)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    stains = vectors / lengths
    amounts = codes(density, stains, penalty)
    weighted = amounts * share[:, None]
    seen, known = weighted.T @ density, weighted.T @ amounts
    cost = 0.5 * np.sum(known * (stains @ stains.T)) - np.sum(seen * stains) + penalty * weighted.sum()
    slope = known @ stains - seen
    along = np.sum(slope * stains, axis=1, keepdims=True)
    return float(cost), ((slope - along * stains) / lengths).ravel()
