"""Statistics of weighted values: what a color histogram says about the pixels it was counted from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .histogram import Weights

__all__ = ["Interpolation", "Values", "covariance", "mean_and_std", "percentiles"]

Values: TypeAlias = NDArray[np.floating[Any]]

Interpolation: TypeAlias = Literal["linear", "nearest"]
"""Between the two order statistics around a percentile, or the nearer of them (NumPy's and torchstain's ways)."""

_BINS = 4096


def mean_and_std(values: Values, weights: Weights) -> tuple[Values, Values]:
    """Mean and population standard deviation: values of shape (n, k) and weights (n,) to twice shape (k,)."""
    mean, columns = _centered(values, weights)
    return mean, np.sqrt((columns * columns) @ weights / weights.sum())


def covariance(values: Values, weights: Weights) -> Values:
    """Population covariance: values of shape (n, k) and weights (n,) to shape (k, k)."""
    _, columns = _centered(values, weights)
    return np.asarray((columns * weights) @ columns.T / weights.sum())


def _centered(values: Values, weights: Weights) -> tuple[Values, Values]:
    """The mean, (k,), and the values less it, (k, n): rows as long as that are faster than columns."""
    columns = np.ascontiguousarray(values.T)
    mean = columns @ weights / weights.sum()
    return mean, columns - mean[:, None]


def percentiles(
    values: Values, weights: Weights, at: Sequence[float], interpolation: Interpolation = "linear"
) -> list[float]:
    """Percentiles of values that stand for `weights` equal ones each, exactly as if they were written out.

    Parameters
    ----------
    values
        Shape (n,), at least one, finite.
    weights
        Shape (n,), whole numbers above 0.
    at
        Percentages, 0 to 100.
    interpolation
        What lies between two order statistics.

    Examples
    --------
    >>> [round(each, 9) for each in percentiles(np.array([3.0, 1.0]), np.array([1.0, 3.0]), (50, 90))]
    [1.0, 2.4]
    """
    last = float(weights.sum()) - 1.0
    ranks = [each / 100.0 * last for each in at]
    if interpolation == "nearest":
        return _ranked(values, weights, [round(rank) for rank in ranks])
    below = [int(np.floor(rank)) for rank in ranks]
    ends = _ranked(values, weights, [*below, *(int(np.ceil(rank)) for rank in ranks)])
    pairs = zip(ends[: len(at)], ends[len(at) :], ranks, below, strict=True)
    return [low + (high - low) * (rank - whole) for low, high, rank, whole in pairs]


def _ranked(values: Values, weights: Weights, ranks: Sequence[int]) -> list[float]:
    """The values of these ranks, counted from 0; only the bins that hold them are sorted."""
    low, high = values.min(), values.max()
    scale = _BINS / (high - low) if high > low else 0.0
    bins = np.minimum((values - low) * scale, _BINS - 1).astype(np.intp)
    masses = np.cumsum(np.bincount(bins, weights, _BINS))
    found = []
    for rank in ranks:
        k = int(np.searchsorted(masses, rank, side="right"))
        inside = np.flatnonzero(bins == k)
        order = inside[np.argsort(values[inside])]
        masses_inside = np.cumsum(weights[order]) + (masses[k - 1] if k else 0.0)
        found.append(float(values[order[np.searchsorted(masses_inside, rank, side="right")]]))
    return found
