"""Times, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Timing", "side_by_side"]

_BURST = 10  # calls in a row of one candidate, the first of which only warms the caches up
_WARM = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one call, in ms."""

    median: float
    q1: float
    q3: float
    calls: int


def side_by_side(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
    """Time several candidates in turn, in short bursts, so that a machine whose speed drifts treats all alike.

    Parameters
    ----------
    calls
        What to time; each must have finished its work when it returns.
    seconds
        How long to measure each, at least; a slow one is called three times all the same.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    while waiting := [name for name, taken in times.items() if sum(taken) < seconds or len(taken) < 3]:
        for name in waiting:
            times[name] += _burst(calls[name], seconds)
    return {name: _timing(taken) for name, taken in times.items()}


def _burst(call: Callable[[], object], seconds: float) -> list[float]:
    taken: list[float] = []
    while len(taken) < _BURST and sum(taken) < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken[_WARM:] if len(taken) == _BURST else taken


def _timing(seconds: list[float]) -> Timing:
    q1, median, q3 = np.percentile(np.array(seconds) * 1e3, [25, 50, 75])
    return Timing(float(median), float(q1), float(q3), len(seconds))
