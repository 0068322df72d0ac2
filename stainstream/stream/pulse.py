"""Whether a running stream is alive."""

from __future__ import annotations

import time
from collections.abc import Callable

from stainstream.report import Report

__all__ = ["Pulse"]

_STUCK_S = 10.0


class Pulse:
    """Judges by a stream's counters, looked at now and then.

    It is dead when frames come in but none has left the engine for ten seconds; and, if that is asked for, when no
    frame has come in for a while. A feed that is silent and a consumer who is waited for are no illness by themselves.

    Parameters
    ----------
    stall_timeout
        Seconds without a frame after which it is dead; 0 where frames may stay away.
    clock
        Seconds, of a clock that never goes back.
    """

    def __init__(self, stall_timeout: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_timeout, self._clock = stall_timeout, clock
        now = clock()
        self._captured, self._captured_at = 0, now
        self._done, self._done_at = 0, now

    def beats(self, report: Report) -> bool:
        """Whether the stream is alive, by its counters now."""
        now = self._clock()
        if report.captured != self._captured:
            self._captured, self._captured_at = report.captured, now
        done = _done(report)
        if done != self._done:
            self._done, self._done_at = done, now
        if self._stall_timeout and now - self._captured_at > self._stall_timeout:
            return False
        return now - self._done_at <= _STUCK_S or now - self._captured_at > _STUCK_S


def _done(report: Report) -> int:
    """How many frames got past the engine, whatever became of them then."""
    passed = sum(
        account.delivered + sum(count for cause, count in account.dropped.items() if cause != "engine busy")
        for account in report.sinks.values()
    )
    return passed + sum(report.rejected.values())
