"""How many messages a second may come."""

from __future__ import annotations

import time

from stainstream.errors import WireError

__all__ = ["RateLimit"]

_BURST_S = 1.0


class RateLimit:
    """Lets a number of messages a second pass, and as many at once as one second's.

    Parameters
    ----------
    rate
        Messages a second; 0 for no limit.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._room = max(1.0, rate * _BURST_S)
        self._left, self._at = self._room, time.monotonic()

    def check(self) -> None:
        """Count a message.

        Raises
        ------
        WireError
            If it is one too many: it is to be left unread.
        """
        if not self._rate:
            return
        now = time.monotonic()
        self._left, self._at = min(self._room, self._left + (now - self._at) * self._rate), now
        if self._left < 1.0:
            raise WireError("rate limit", f"more than {self._rate:g} messages a second came")
        self._left -= 1.0
