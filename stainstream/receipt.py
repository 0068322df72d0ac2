"""What a feed that keeps its tiles wants to be told of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Note", "Receipt"]


class Receipt:
    """Of one tile: tells the feed, once, that all sinks have accepted it, or that it cannot be used.

    A tile whose receipt tells nothing stays with the feed, which sends it again to whoever comes next.

    Parameters
    ----------
    series, sequence
        Which tile it is.
    base
        The lowest sequence of the series that was not settled when the tile was sent.
    told
        Called with ``""`` or the cause; from any thread.
    """

    def __init__(self, series: str, sequence: int, base: int, told: Callable[[str], None]) -> None:
        self.series, self.sequence, self.base = series, sequence, base
        self._told: Callable[[str], None] | None = told
        self._left = 1
        self._lock = threading.Lock()

    def expect(self, sinks: int) -> None:
        """Say how many have to accept it; nothing else may be said before."""
        self._left = sinks

    def accept(self) -> None:
        """One of the sinks has it safe."""
        with self._lock:
            self._left -= 1
            told = self._told if self._left <= 0 else None
            if told is not None:
                self._told = None
        if told is not None:
            told("")

    def refuse(self, cause: str) -> None:
        """It cannot be used."""
        with self._lock:
            told, self._told = self._told, None
        if told is not None:
            told(cause)


@dataclass(frozen=True, slots=True)
class Note:
    """What stands in a series in place of a tile: the end, or that a tile could not be used."""

    op: str
    """``"end"`` or ``"void"``."""
    receipt: Receipt
    more: Mapping[str, object] = field(default_factory=dict)
    """Counts, cause: passed on as they came."""
