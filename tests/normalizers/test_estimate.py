"""Statistics that follow a stream."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stainstream.color.histogram import ColorCounts
from stainstream.errors import FrameError
from stainstream.normalizers.conventions import PROFILES
from stainstream.normalizers.estimate import Estimate
from stainstream.normalizers.macenko import Macenko
from stainstream.normalizers.reinhard import LabStatistics, Reinhard

from .tiles import LOW_TISSUE, demo, restained

STREAM = PROFILES["stream"]
SECOND = 1_000_000_000


def test_without_forgetting_it_is_the_fit_of_all_frames() -> None:
    estimate, frames = Estimate(Macenko, STREAM, 0.0), [demo(k, k, 256) for k in range(3)]
    for k, frame in enumerate(frames):
        assert estimate.add(frame, k * SECOND)
    assert estimate.statistics() == Macenko.study(frames, STREAM)


def test_a_frame_counts_for_1_over_e_after_the_time_constant() -> None:
    one, other = np.full((16, 16, 3), (120, 40, 120), np.uint8), np.full((16, 16, 3), (60, 20, 90), np.uint8)
    one[:8], other[:8] = 100, 80  # so that there is some spread
    estimate = Estimate(Reinhard, STREAM, 2.0)
    estimate.add(one, 0)
    estimate.add(other, 2 * SECOND)
    weight = round(1e6 * math.exp(-1))
    expected = Reinhard.study([ColorCounts.of(one, weight), ColorCounts.of(other, 10**6)], STREAM)
    found = estimate.statistics()
    assert isinstance(found, LabStatistics)
    assert found.mean == pytest.approx(expected.mean, rel=1e-4)


def test_it_arrives_at_a_new_stain_and_forgets_the_old() -> None:
    estimate, fresh = Estimate(Macenko, STREAM, 1.0), restained(demo(1, 1, 256))
    for k in range(10):
        estimate.add(demo(size=256), k * SECOND // 4)
    for k in range(10, 40):
        estimate.add(fresh, k * SECOND // 4)
    stains, expected = (np.array(each.stains) for each in (estimate.statistics(), Macenko.study(fresh, STREAM)))  # type: ignore[attr-defined]
    assert np.degrees(np.arccos(np.clip((stains * expected).sum(axis=1), -1, 1))).max() < 0.1
    assert len(estimate.sample(10**9)) < 1.1 * len(ColorCounts.of(fresh))  # and not those of before as well


@pytest.mark.parametrize("name", LOW_TISSUE)
def test_low_tissue_holds_the_last_good_statistics_however_long(name: str) -> None:
    estimate = Estimate(Macenko, STREAM, 0.5)
    assert estimate.add(demo(size=256), 0)
    before = estimate.statistics()
    for k in range(1, 200):
        assert not estimate.add(LOW_TISSUE[name][::8, ::8], k * SECOND)
    assert estimate.statistics() == before
    assert estimate.frames == 1


def test_before_any_tissue_there_is_nothing_to_tell() -> None:
    with pytest.raises(FrameError, match="is tissue"):
        Estimate(Macenko, STREAM, 1.0).statistics()


def test_time_that_runs_backwards_forgets_nothing() -> None:
    estimate = Estimate(Macenko, STREAM, 1.0)
    for at in (5, 3, 4):
        estimate.add(demo(size=128), at * SECOND)
    assert np.isfinite(np.array(estimate.statistics().stains)).all()  # type: ignore[attr-defined]
