"""What became of every frame: captured = delivered + dropped by cause + rejected + under way, at every moment."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Account", "Ledger", "Report"]

_RECENT = 10_000  # latencies that percentiles are taken over


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the frames that were meant for one sink."""

    delivered: int
    dropped: Mapping[str, int]
    """By cause."""
    under_way: int
    """Captured, but not yet delivered, dropped or rejected."""


@dataclass(frozen=True, slots=True)
class Report:
    """A consistent view of a stream's counters."""

    captured: int
    """Frames and messages that came in, good or not."""
    rejected: Mapping[str, int]
    """Messages, files and frames that could not be used, by cause."""
    lost: int
    """Frames that the feed's own numbering says were lost before they reached us."""
    sinks: Mapping[str, Account]
    seconds: float
    """Since the stream began."""
    latency_ms: tuple[float, float] | None
    """Median and 99th percentile, in ms, from capture to delivery of recent frames; None before the first."""

    @property
    def balanced(self) -> bool:
        """Whether the accounting identity holds for every sink."""
        return all(
            self.captured == each.delivered + sum(each.dropped.values()) + sum(self.rejected.values()) + each.under_way
            for each in self.sinks.values()
        )

    @property
    def delivered(self) -> int:
        """Frames that reached the sink that got the fewest."""
        return min(each.delivered for each in self.sinks.values())

    def lines(self) -> list[str]:
        """The report for people, one line a sink."""
        rejected = _listed("rejected", self.rejected)
        return [
            f"{name}: captured {self.captured} = delivered {each.delivered} + {_listed('dropped', each.dropped)}"
            f" + {rejected}" + (f" + under way {each.under_way}" if each.under_way else "")
            for name, each in self.sinks.items()
        ]


def _listed(what: str, causes: Mapping[str, int]) -> str:
    detail = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items()))
    return f"{what} {sum(causes.values())}" + (f" ({detail})" if detail else "")


@dataclass(slots=True)
class _Open:
    """An account that is still written to."""

    delivered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    under_way: int = 0


class Ledger:
    """Counts frames from capture to their end; every transition is one atomic step, from any thread."""

    def __init__(self, sinks: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._rejected: Counter[str] = Counter()
        self._accounts = {name: _Open() for name in sinks}
        self._latencies: deque[int] = deque(maxlen=_RECENT)
        self._began = time.monotonic()

    def capture(self) -> None:
        """A frame came in: it is under way to every sink."""
        with self._lock:
            self._captured += 1
            for account in self._accounts.values():
                account.under_way += 1

    def reject(self, cause: str) -> None:
        """A frame under way cannot be used."""
        with self._lock:
            self._rejected[cause] += 1
            for account in self._accounts.values():
                account.under_way -= 1

    def drop(self, cause: str, sink: str | None = None) -> None:
        """A frame under way to `sink` (to all of them, by default) is given up."""
        with self._lock:
            for account in self._accounts.values() if sink is None else (self._accounts[sink],):
                account.dropped[cause] += 1
                account.under_way -= 1

    def deliver(self, sink: str, captured_ns: int) -> None:
        """`sink` took a frame that was captured at `captured_ns` (`time.monotonic_ns`)."""
        latency = time.monotonic_ns() - captured_ns
        with self._lock:
            account = self._accounts[sink]
            account.delivered += 1
            account.under_way -= 1
            self._latencies.append(latency)

    def report(self, rejected: Mapping[str, int], lost: int) -> Report:
        """The counters now, with those that the source keeps itself."""
        source = dict(rejected)
        with self._lock:
            causes = Counter(source) + self._rejected
            captured = self._captured + sum(source.values())
            sinks = {
                name: Account(each.delivered, dict(each.dropped), each.under_way)
                for name, each in self._accounts.items()
            }
            latencies = np.array(self._latencies)
        percentiles = np.percentile(latencies, [50, 99]) / 1e6 if len(latencies) else None
        return Report(
            captured=captured,
            rejected=dict(causes),
            lost=lost,
            sinks=sinks,
            seconds=time.monotonic() - self._began,
            latency_ms=None if percentiles is None else (float(percentiles[0]), float(percentiles[1])),
        )
