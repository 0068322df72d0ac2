"""How much may be under way."""

from __future__ import annotations

import threading
import time

__all__ = ["Window"]

_SLICE_S = 0.1


class Window:
    """Room for a number of tiles and of bytes; a tile larger than all the room may be under way alone."""

    def __init__(self, tiles: int, size: int) -> None:
        self.tiles, self.size = tiles, size
        self._used_tiles = self._used_size = 0
        self._changed = threading.Condition()

    def enter(self, size: int, timeout: float | None, stopping: threading.Event | None = None) -> bool:
        """Wait for room and take it; False if there is none after `timeout` seconds, or once `stopping` is set."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._fits(size):
                left = _SLICE_S if end is None else min(_SLICE_S, end - time.monotonic())
                if left <= 0 or (stopping is not None and stopping.is_set()):
                    return False
                self._changed.wait(left)
            self._used_tiles += 1
            self._used_size += size
            return True

    def leave(self, size: int) -> None:
        """Give room back; from any thread."""
        with self._changed:
            self._used_tiles -= 1
            self._used_size -= size
            self._changed.notify_all()

    def drained(self, timeout: float | None, stopping: threading.Event | None = None) -> bool:
        """Wait until nothing is under way; see `enter`."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._used_tiles:
                left = _SLICE_S if end is None else min(_SLICE_S, end - time.monotonic())
                if left <= 0 or (stopping is not None and stopping.is_set()):
                    return False
                self._changed.wait(left)
            return True

    def _fits(self, size: int) -> bool:
        return not self._used_tiles or (self._used_tiles < self.tiles and self._used_size + size <= self.size)
