"""What became of a series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Counts"]


@dataclass(frozen=True, slots=True)
class Counts:
    """tiles = accepted + rejected (by cause) + elsewhere, once a series has ended."""

    tiles: int
    """As the sender counted them."""
    accepted: int
    rejected: Mapping[str, int]
    """Those that could not be used, by cause."""
    elsewhere: int = 0
    """Settled without this subscriber: before its time, or before it lost its memory."""

    @property
    def balanced(self) -> bool:
        """Whether the counts add up."""
        return self.tiles == self.accepted + sum(self.rejected.values()) + self.elsewhere
