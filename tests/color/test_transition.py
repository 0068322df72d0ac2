"""Tables on their way to others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stainstream.color.lut import COLORS, Lut, bake, colors_of
from stainstream.color.transition import bake_coarsely, identity, largest_change, step
from stainstream.normalizers import TABLE
from stainstream.normalizers.fitted import Fitted
from tests.normalizers.tiles import demo, restained


def _random(seed: int) -> Lut:
    return Lut(np.random.default_rng(seed).integers(0, COLORS, COLORS, dtype=np.uint32), str(seed))


def test_the_identity_changes_nothing() -> None:
    words = np.arange(0, COLORS, 997, dtype=np.uint32)
    np.testing.assert_array_equal(colors_of(identity().table[words]), colors_of(words))


@pytest.mark.parametrize("levels", [1, 2, 40])
def test_no_color_moves_by_more_than_a_step_and_all_come_nearer(levels: int) -> None:
    start, goal = _random(0), _random(1)
    moved = step(start, goal, levels)
    assert largest_change(start, moved) == levels
    some = slice(None, None, 101)
    a, b, c = (colors_of(each.table[some]).astype(int) for each in (start, moved, goal))
    away, left = np.abs(c - a).max(axis=1), np.abs(c - b).max(axis=1)
    assert (left <= np.maximum(away - levels, 0)).all()
    assert (np.abs(b - a) <= levels).all()
    assert ((b >= np.minimum(a, c)) & (b <= np.maximum(a, c))).all()


def test_steps_arrive_at_the_goal_itself() -> None:
    shown, goal = _random(2), _random(3)
    for _ in range(-(-255 // 60)):
        assert shown is not goal
        shown = step(shown, goal, 60)
    assert shown is goal
    assert largest_change(goal, goal) == 0
    assert largest_change(identity(), _random(4)) > 200


@pytest.mark.parametrize("method", ["reinhard", "macenko", "khan"])
def test_a_coarse_table_is_close_to_the_exact_one(method: str) -> None:
    fitted: Fitted[Any] = TABLE[method].load().fit(demo(), restained(demo(1, 1)), "stream")
    coarse, exact = (make(fitted, method, fitted.rounding) for make in (bake_coarsely, bake))
    tissue = demo(2, 2).reshape(-1, 3).astype(np.uint32)
    words = tissue[:, 0] | tissue[:, 1] << 8 | tissue[:, 2] << 16
    error = np.abs(colors_of(coarse.table[words]).astype(int) - colors_of(exact.table[words]))
    assert error.max() <= 4
    assert error.mean() < 0.25
