"""Counts what becomes of every frame, such that the account is right at every moment."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from stainstream.report import Account, Report

__all__ = ["Ledger"]

_RECENT = 10_000  # latencies that percentiles are taken over


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

    def abandon(self, cause: str) -> None:
        """Give up whatever is under way to whomever."""
        with self._lock:
            for account in self._accounts.values():
                if account.under_way:
                    account.dropped[cause] += account.under_way
                    account.under_way = 0

    def report(self, rejected: Mapping[str, int], lost: int, notes: Mapping[str, int] = MappingProxyType({})) -> Report:
        """The counters now, with those that the source and the watchers keep themselves."""
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
            notes=dict(notes),
            latency_ms=None if percentiles is None else (float(percentiles[0]), float(percentiles[1])),
        )
