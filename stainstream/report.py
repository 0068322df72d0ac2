"""What became of every frame, at one moment: captured = delivered + dropped by cause + rejected + under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Account", "Report"]


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
    notes: Mapping[str, int] = field(default_factory=dict)
    """How often something happened that a user should know of, though no frame was lost by it."""

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
        ] + ([_listed("notes:", self.notes)] if self.notes else [])


def _listed(what: str, causes: Mapping[str, int]) -> str:
    detail = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items()))
    return f"{what} {sum(causes.values())}" + (f" ({detail})" if detail else "")
