"""Recall, precision, accuracy and F1 with intervals over seeds and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .figures import Figure

__all__ = ["KEYS", "classified"]

KEYS = ("recall", "precision", "accuracy", "f1")

Counts: TypeAlias = NDArray[np.float64]
"""(..., 4): true positives, false positives, false negatives, true negatives."""

_RESAMPLED = 1000


def classified(
    called: Sequence[NDArray[np.bool_]], labels: NDArray[np.bool_], clusters: NDArray[Any], seed: int = 0
) -> dict[str, Figure]:
    """The four measures, mean and standard deviation over seeds.

    The interval is the middle 95 % of a bootstrap that draws seeds and, within them, cluster images with replacement:
    cells of one image are not independent.

    Parameters
    ----------
    called
        For each seed, which of the n cells its classifier calls positive.
    labels, clusters
        Shape (n,).
    """
    names, of = np.unique(clusters, return_inverse=True)
    counts = np.stack([_counts(each, labels, of, len(names)) for each in called])
    each_seed = _measures(counts.sum(axis=1))
    rng = np.random.default_rng(seed)
    drawn = np.empty((_RESAMPLED, len(KEYS)))
    for k in range(_RESAMPLED):
        seeds = rng.integers(len(counts), size=len(counts))
        some = rng.integers(len(names), size=len(names))
        drawn[k] = _measures(counts[seeds][:, some].sum(axis=1)).mean(axis=0)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {
        key: Figure(
            value=float(each_seed[:, k].mean()),
            sd=float(each_seed[:, k].std(ddof=1)) if len(called) > 1 else None,
            n=len(called),
            low=float(low[k]),
            high=float(high[k]),
        )
        for k, key in enumerate(KEYS)
    }


def _counts(called: NDArray[np.bool_], labels: NDArray[np.bool_], of: NDArray[np.int64], size: int) -> Counts:
    """Of each image: shape (size, 4)."""
    cases = (called & labels, called & ~labels, ~called & labels, ~called & ~labels)
    return np.stack([np.bincount(of, each.astype(np.float64), size) for each in cases], axis=-1)


def _measures(counts: Counts) -> NDArray[np.float64]:
    right, wrong, missed, rest = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = [
            right / (right + missed),
            right / (right + wrong),
            (right + rest) / (right + wrong + missed + rest),
            2 * right / (2 * right + wrong + missed),
        ]
    return np.asarray(np.nan_to_num(np.stack(values, axis=-1)))
