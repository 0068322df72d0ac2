"""How far a subscriber has come in a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .counts import Counts
from .receiver import Arrival

__all__ = ["Progress"]


@dataclass(slots=True)
class Progress:
    """What of a series has come, is ready to be handed out, and is accepted."""

    next: int
    """The place that is accepted next."""
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    handed: int = -1
    """The place that was handed out last, before the program ended."""
    known: bool = True
    """Whether `rejected` covers all of the series."""
    ready: int = -1
    """The place that becomes ready to be handed out next."""
    base: int = 0
    """The first place that is not settled, as far as is known."""
    held: dict[int, Arrival] = field(default_factory=dict)
    """What has come but was not accepted, by its place."""
    copies: dict[int, list[Arrival]] = field(default_factory=dict)
    """The same from others who are there and want to know as well, without pixels."""

    def __post_init__(self) -> None:
        self.ready = self.next

    def advance(self) -> Iterator[Arrival]:
        """What has become ready."""
        if self.next == self.ready < self.base:
            self.elsewhere += self.base - self.ready
            self.next = self.ready = self.base
            self.held = {seq: each for seq, each in self.held.items() if seq >= self.base}
            self.copies = {seq: each for seq, each in self.copies.items() if seq >= self.base}
        while self.ready in self.held:
            yield self.held[self.ready]
            self.ready += 1

    def hold(self, arrival: Arrival) -> bool:
        """Hold what has come; whether it had come before."""
        seq = arrival.key[1]
        before = self.held.get(seq)
        if before is not None and before.peer != arrival.peer:
            others = [replace(before, body=[]), *self.copies.get(seq, ())]
            self.copies[seq] = [each for each in others if each.peer != arrival.peer and each.peer_is_there]
        self.held[seq] = arrival
        return before is not None

    def let_go(self, seq: int, arrival: Arrival) -> list[Arrival]:
        """Whom to tell what became of it: it may have come again, over other connections."""
        return [*self.copies.pop(seq, ()), self.held.pop(seq, arrival)]

    def counts(self, tiles: int, rejected: Mapping[str, int]) -> Counts:
        """At the end, which the sender announced with these numbers."""
        if self.known:
            return Counts(tiles, self.accepted, dict(self.rejected), self.elsewhere)
        before = sum(rejected.values()) - sum(self.rejected.values())
        return Counts(tiles, self.accepted - before, dict(rejected), self.elsewhere)
