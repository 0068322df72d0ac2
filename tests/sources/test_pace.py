"""A steady beat."""

from __future__ import annotations

import threading
import time

import pytest

from stainstream.sources.pace import Pace


def test_keeps_its_rate_however_late_the_caller_is() -> None:
    pace = Pace(50.0, threading.Event())
    began = time.monotonic()
    for beat in range(31):
        assert pace.wait()
        if beat % 5 == 0:
            time.sleep(0.07)  # late for three beats; added up that were 0.42 s
    took = time.monotonic() - began
    assert 30 / 50 <= took < 30 / 50 + 0.3


def test_does_not_make_up_for_a_long_pause() -> None:
    pace = Pace(20.0, threading.Event())
    assert pace.wait()
    time.sleep(1.2)  # 24 beats
    assert pace.wait()
    began = time.monotonic()
    assert pace.wait()
    assert time.monotonic() - began > 0.03


def test_rate_zero_does_not_wait() -> None:
    pace = Pace(0.0, threading.Event())
    began = time.monotonic()
    assert all(pace.wait() for _ in range(1000))
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("rate", [0.0, 0.01])
def test_ends_when_stopped(rate: float) -> None:
    stopping = threading.Event()
    pace = Pace(rate, stopping)
    assert pace.wait()
    threading.Timer(0.05, stopping.set).start()
    began = time.monotonic()
    while pace.wait():
        assert rate == 0.0
    assert time.monotonic() - began < 0.5
