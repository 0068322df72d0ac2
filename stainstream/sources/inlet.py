"""Tiles of acknowledged feeds, and the receipts that settle them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias

from stainstream.feed.link import Body
from stainstream.feed.receiver import Arrival, Receiver
from stainstream.receipt import Note, Receipt
from stainstream.security import Curve

__all__ = ["Inlet"]

_UNSETTLED = 1 << 16  # tiles that may be under way here: more than any windows let be
Key: TypeAlias = tuple[str, int]


class Inlet:
    """Takes tiles from one or several scanners, and tells them what became of each.

    It remembers nothing: what it has in hand when it ends is sent again to whoever comes next.

    Parameters
    ----------
    relay
        Where notes go; on the hub's thread.
    """

    def __init__(
        self,
        target: str,
        *,
        bind: bool,
        name: str,
        max_frame_bytes: int,
        relay: Callable[[Note], None],
        curve: Curve | None,
    ) -> None:
        self._relay = relay
        self._in_hand: dict[Key, Arrival] = {}
        self._changing = threading.Lock()
        self._tiles: SimpleQueue[Arrival] = SimpleQueue()
        self.receiver = Receiver(
            target, bind=bind, role="worker", name=name, take=self._take, max_frame_bytes=max_frame_bytes, curve=curve
        )

    @property
    def in_hand(self) -> int:
        """Items that are not settled."""
        return len(self._in_hand)

    def take(self, timeout: float) -> tuple[Body, Receipt] | None:
        """The next tile, a message of a wire format, and its receipt; None after `timeout` seconds."""
        try:
            arrival = self._tiles.get(timeout=timeout)
        except Empty:
            return None
        return arrival.body, self._receipt(arrival)

    def _take(self, arrival: Arrival) -> None:
        with self._changing:
            known = arrival.key in self._in_hand
            if not known and len(self._in_hand) >= _UNSETTLED:
                arrival.receiver.link.reject("too many tiles under way")
                return
            self._in_hand[arrival.key] = arrival  # of one that comes again, the newest knows where its sender is
        if known:
            return
        op = arrival.envelope["op"]
        if op == "tile":
            self._tiles.put(arrival)
        else:
            more = {key: value for key, value in arrival.envelope.items() if key not in _OF_EACH}
            self._relay(Note(op, self._receipt(arrival), more))

    def _receipt(self, arrival: Arrival) -> Receipt:
        return Receipt(*arrival.key, arrival.envelope["base"], partial(self._settle, arrival))

    def _settle(self, taken: Arrival, cause: str) -> None:
        with self._changing:
            newest = self._in_hand.pop(taken.key, None)
        if newest is None:
            return
        if cause and newest.envelope["op"] != taken.envelope["op"]:
            self._take(newest)  # another worker refused the tile, too, and a void has come in its place
        else:
            newest.settle(cause)


_OF_EACH = frozenset({"ssa", "op", "series", "seq", "base"})
