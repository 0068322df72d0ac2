"""The sending half of an acknowledged feed: keeps each tile until it hears what became of it."""

from __future__ import annotations

import heapq
import itertools
import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import zmq

from stainstream.errors import SinkError
from stainstream.security import Curve

from .hub import HUB
from .link import Body, Link
from .message import ENVELOPE_BYTES, Envelope, pack

__all__ = ["Item", "Sender"]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Item:
    """A place in a series, and what stands there: a tile, a tile that could not be used (void), or the end."""

    op: str
    series: str
    seq: int
    base: Callable[[], int]
    """The lowest sequence of the series that is not settled yet, when it is asked."""
    settled: Callable[[str], None]
    """Told, on the hub's thread, that it was accepted (``""``), or why it could not be used."""
    body: Sequence[bytes | bytearray | memoryview] = ()
    more: Mapping[str, object] = field(default_factory=dict)
    """The envelope's other fields."""
    order: int = -1

    @property
    def key(self) -> tuple[str, int]:
        return self.series, self.seq

    def parts(self) -> Sequence[bytes | bytearray | memoryview]:
        """The message."""
        return pack(self.op, series=self.series, seq=self.seq, base=self.base(), **self.more), *self.body


@dataclass(slots=True, eq=False)
class _Peer:
    name: str
    session: str
    role: str
    given: dict[tuple[str, int], Item] = field(default_factory=dict)


class Sender:
    """Gives each item to one of the workers that are there, or to the one subscriber; again, if that one goes away.

    Among several workers the one that has the least in hand comes next. A subscriber has the feed for itself: another
    one is refused until he is gone, except that one of the same name takes over.

    Parameters
    ----------
    target, bind
        As `Link`'s.
    name
        What the sender calls itself.
    """

    forgets = True

    def __init__(self, target: str, *, bind: bool, name: str = "stainstream", curve: Curve | None = None) -> None:
        self.name, self._session = name, uuid.uuid4().hex
        # How much is sent without waiting is bounded by the window of whoever submits.
        self.link = Link(target, bind, self, SinkError, {zmq.MAXMSGSIZE: ENVELOPE_BYTES, zmq.SNDHWM: 0}, curve)
        self.again = 0
        """How often an item had to be sent once more."""
        self._fresh: deque[Item] = deque()
        self._items: dict[tuple[str, int], Item] = {}
        self._waiting: list[tuple[int, int, Item]] = []
        self._ties = itertools.count()
        self._peers: dict[bytes, _Peer] = {}
        self._count = 0

    @property
    def unsettled(self) -> int:
        """Items that are kept."""
        return len(self._items) + len(self._fresh)

    def submit(self, item: Item) -> None:
        """Take an item in; from any thread, without waiting."""
        self._fresh.append(item)
        HUB.wake()

    def greeting(self) -> bytes:
        return pack("ping", name=self.name, session=self._session)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        if body:
            self.link.reject("wrong number of parts", "a receiver's messages have one part")
        elif envelope["op"] == "hello":
            self._welcome(route, envelope)
        elif envelope["op"] == "ack":
            for each in envelope["tiles"]:
                self._settle(*each)
        else:
            self.link.reject("unknown operation", f"{envelope['op']} is no receiver's")
        return True

    def gone(self, route: bytes) -> None:
        peer = self._peers.pop(route, None)
        if peer is not None:
            _log.info("%s %s is gone from %s, %d under way", peer.role, peer.name, self.link.target, len(peer.given))
            for item in peer.given.values():
                self._wait(item)
                self.again += 1

    def flush(self) -> None:
        while self._fresh:
            self._take(self._fresh.popleft())
        while self._waiting and self._peers:
            item = self._waiting[0][-1]
            if self._items.get(item.key) is not item:
                heapq.heappop(self._waiting)
                continue
            route, peer = min(self._peers.items(), key=_load)
            if self.link.say(route, *item.parts()):
                heapq.heappop(self._waiting)
                peer.given[item.key] = item
            else:
                self.link.drop(route)

    def _take(self, item: Item) -> None:
        known = self._items.get(item.key)
        if known is not None:  # the same tile once more: whoever sent it wants to know as well
            first, second = known.settled, item.settled
            known.settled = lambda cause: (first(cause), second(cause))[0]
            return
        if item.order < 0:
            self._count += 1
            item.order = self._count
        self._items[item.key] = item
        self._wait(item)

    def _wait(self, item: Item) -> None:
        heapq.heappush(self._waiting, (item.order, next(self._ties), item))

    def _welcome(self, route: bytes, hello: Envelope) -> None:
        if route in self._peers:
            return
        name, session, role = hello["name"], hello["session"], hello["role"]
        if role == "live":
            self.link.say(route, pack("refused", reason="this feed is acknowledged: ask with delivery=acknowledged"))
            return
        for other, peer in list(self._peers.items()):
            if peer.session == session or (role == peer.role == "subscriber" and peer.name == name):
                self.link.drop(other)  # the same one over another connection, or started anew
            elif "subscriber" in (role, peer.role):
                self.link.say(route, pack("refused", reason=f"the {peer.role} {peer.name!r:.99} has this feed"))
                return
        _log.info("%s %s takes %s", role, name, self.link.target)
        self._peers[route] = _Peer(name, session, role)

    def _settle(self, series: str, first: int, last: int, cause: str = "") -> None:
        few = last - first < len(self._items)  # a stranger's range may be long
        for seq in list(range(first, last + 1)) if few else sorted(self._among(series, first, last)):
            item = self._items.get(key := (series, seq))
            if item is None or (cause and item.op == "void"):
                continue  # it was the tile that was refused, once more: the void in its place is still to be accepted
            del self._items[key]
            for peer in self._peers.values():
                peer.given.pop(key, None)
            item.settled(cause)

    def _among(self, series: str, first: int, last: int) -> list[int]:
        return [seq for name, seq in self._items if name == series and first <= seq <= last]


def _load(entry: tuple[bytes, _Peer]) -> int:
    return len(entry[1].given)
