"""A steady beat."""

from __future__ import annotations

import threading
import time

__all__ = ["Pace"]

_FORGIVEN_NS = 1_000_000_000


class Pace:
    """Deadlines at a steady rate.

    They are counted from the first one, so that late wake-ups do not add up. Whoever is late catches up, but not by
    more than a second: after a longer pause (a full mailbox, a computer asleep) the beat starts anew.

    Parameters
    ----------
    rate
        Beats a second; 0 does not wait.
    stopping
        Ends the waiting when set.
    """

    def __init__(self, rate: float, stopping: threading.Event) -> None:
        self._rate, self._stopping = rate, stopping
        self._began_ns = self._beats = 0

    def wait(self) -> bool:
        """Sleep until the next beat, the first of which is now; False if `stopping` was set."""
        if not self._rate:
            return not self._stopping.is_set()
        now = time.monotonic_ns()
        due = self._began_ns + round(self._beats * 1e9 / self._rate)
        if not self._beats or now - due > _FORGIVEN_NS:
            self._began_ns, self._beats, due = now, 0, now
        self._beats += 1
        return not self._stopping.wait(max(0, due - now) / 1e9)
