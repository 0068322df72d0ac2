"""Whether a stream is alive, by its counters."""

from __future__ import annotations

import pytest

from stainstream.report import Account, Report
from stainstream.stream.pulse import Pulse


def report(captured: int, delivered: int, busy: int = 0, dropped: int = 0, rejected: int = 0) -> Report:
    account = Account(delivered, {"engine busy": busy, "sink busy": dropped}, 0)
    return Report(captured, {"unusable frame": rejected}, 0, {"a": account}, 0.0, None)


def beats(reports: list[Report], stall_timeout: float = 0.0) -> list[bool]:
    """Whether it is alive at each of the reports, one a second."""
    now = 0.0
    pulse = Pulse(stall_timeout, lambda: now)
    found = []
    for each in reports:
        now += 1
        found.append(pulse.beats(each))
    return found


@pytest.mark.parametrize(
    "reports",
    [
        [report(n, n) for n in range(100)],  # all is well
        [report(0, 0)] * 100,  # a feed that has not begun
        [report(n, n) for n in range(9)] + [report(9, 9)] * 100,  # one that pauses
        [report(n, 0, dropped=n) for n in range(100)],  # a consumer that is slow
        [report(n, 0, rejected=n) for n in range(100)],  # a feed that sends nonsense
        [report(20, 4)] * 100,  # a consumer that is waited for, without loss
    ],
)
def test_what_may_be_is_alive(reports: list[Report]) -> None:
    assert all(beats(reports))


def test_an_engine_that_hangs_is_dead_after_ten_seconds_and_alive_when_it_comes_back() -> None:
    hanging = [report(100 + n, 100, busy=n) for n in range(30)]
    found = beats([report(100, 100), *hanging, report(131, 101, busy=29)])
    assert found[:10] == [True] * 10
    assert found[13:31] == [False] * 18
    assert found[-1]


def test_a_source_that_stalls_is_dead_where_that_is_asked_for() -> None:
    stalled = [report(1, 1)] * 20
    assert beats(stalled, 5)[:6] == [True] * 6
    assert not any(beats(stalled, 5)[7:])
    assert not beats([report(0, 0)] * 20, 5)[-1]  # also if it never began
