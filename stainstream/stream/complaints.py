"""Errors that may come with every frame, logged such that a log stays readable."""

from __future__ import annotations

import logging
import time

__all__ = ["Complaints"]

_log = logging.getLogger(__name__)

_EVERY_S = 1.0


class Complaints:
    """Logs errors, at most one a second of each sort, with how many were not logged."""

    def __init__(self) -> None:
        self._sorts: dict[str, tuple[float, int]] = {}

    def complain(self, what: str, error: Exception) -> None:
        """Log that `what` happened, and why, unless it was just said."""
        last, silent = self._sorts.get(what, (float("-inf"), 0))
        if time.monotonic() - last < _EVERY_S:
            self._sorts[what] = (last, silent + 1)
            return
        more = f" (and {silent} more)" if silent else ""
        _log.warning("%s: %s%s", what, error, more)
        self._sorts[what] = (time.monotonic(), 0)
