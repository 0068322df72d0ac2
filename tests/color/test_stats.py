"""Weighted statistics, against NumPy's of the values written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stainstream.color.stats import covariance, mean_and_std, percentiles

Floats = NDArray[np.float64]
WEIGHTED = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 50)), min_size=1, max_size=40)


def _sample(n: int = 500) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return rng.normal(3.0, 2.0, (n, 3)), rng.integers(1, 9, n).astype(np.float64)


def test_mean_spread_and_covariance_are_those_of_the_values_written_out() -> None:
    values, weights = _sample()
    every = np.repeat(values, weights.astype(int), axis=0)
    mean, std = mean_and_std(values, weights)
    np.testing.assert_allclose(mean, every.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, every.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance(values, weights), np.cov(every.T, ddof=0), rtol=1e-12)


@given(WEIGHTED, st.floats(0, 100))
def test_percentiles_are_those_of_the_values_written_out(pairs: list[tuple[float, int]], at: float) -> None:
    values, weights = np.array([value for value, _ in pairs]), np.array([float(weight) for _, weight in pairs])
    every = np.repeat(values, weights.astype(int))
    assert percentiles(values, weights, (at,))[0] == pytest.approx(np.percentile(every, at), rel=1e-9, abs=1e-9)
    rank = round(at / 100.0 * (len(every) - 1))  # as torchstain's percentile() counts
    assert percentiles(values, weights, (at,), "nearest")[0] == np.sort(every)[rank]


def test_many_values_are_ranked_like_few() -> None:
    values, weights = _sample(100_000)
    every = np.repeat(values[:, 0], weights.astype(int))
    at = (0, 1, 5, 50, 99, 100)
    np.testing.assert_allclose(percentiles(values[:, 0], weights, at), np.percentile(every, at), rtol=1e-12)
