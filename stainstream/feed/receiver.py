"""The receiving half of an acknowledged feed: hands tiles on, and says what became of them."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from stainstream.errors import SourceError
from stainstream.security import Curve

from .hub import HUB
from .link import Body, Link
from .message import Envelope, pack
from .tile import MAX_FRAME_BYTES

__all__ = ["MAX_FRAME_BYTES", "Arrival", "Receiver"]

_log = logging.getLogger(__name__)

_BESIDE_IMAGE = 64 << 10  # bytes that a message's part may have beyond those of the largest image
_LINGER_S = 0.5
_AT_ONCE = 512  # ranges in one acknowledgement


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """An item as it came."""

    receiver: Receiver
    route: bytes
    envelope: Envelope
    body: Body

    @property
    def key(self) -> tuple[str, int]:
        return self.envelope["series"], self.envelope["seq"]

    @property
    def peer(self) -> tuple[int, bytes]:
        """Who sent it."""
        return id(self.receiver), self.route

    @property
    def peer_is_there(self) -> bool:
        """Whether he is still connected; on the hub's thread."""
        return self.route in self.receiver.link.peers

    def settle(self, cause: str = "", *, soon: bool = True) -> None:
        """Say that it was accepted, or why it could not be used; from any thread.

        Parameters
        ----------
        soon
            False if it can wait until there is more to say.
        """
        self.receiver.settle(self.route, *self.key, cause, soon=soon)


class Receiver:
    """Asks a sender, or several, for what they have.

    Parameters
    ----------
    target, bind
        As `Link`'s.
    role
        ``"worker"``: one of several who share the items. ``"subscriber"``: the one who gets all.
    name
        What the receiver calls itself.
    take
        Called with each item, on the hub's thread.
    """

    forgets = False

    def __init__(
        self,
        target: str,
        *,
        bind: bool,
        role: str,
        name: str,
        take: Callable[[Arrival], None],
        max_frame_bytes: int = MAX_FRAME_BYTES,
        curve: Curve | None = None,
    ) -> None:
        self._role, self._name, self._session = role, name, uuid.uuid4().hex
        self._take = take
        self._said: deque[tuple[bytes, str, int, str]] = deque()
        limit: dict[int, int | bytes] = {zmq.MAXMSGSIZE: max_frame_bytes + _BESIDE_IMAGE}
        self.link = Link(target, bind, self, SourceError, limit, curve)

    def settle(self, route: bytes, series: str, seq: int, cause: str = "", *, soon: bool = True) -> None:
        """See `Arrival.settle`."""
        self._said.append((route, series, seq, cause))
        if soon:
            HUB.wake()

    def close(self) -> None:
        """Say what is still to be said, and let go of the address."""
        HUB.post(self.flush)
        self.link.close(_LINGER_S)

    def greeting(self) -> bytes:
        return pack("hello", role=self._role, name=self._name, session=self._session)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        op = envelope["op"]
        if op in ("tile", "void", "end") and bool(body) == (op == "tile"):
            self._take(Arrival(self, route, envelope, body))
        elif op == "refused":
            self.link.reject("refused", f"the feed refuses us: {envelope['reason']}")
        elif op != "ping":
            self.link.reject("unknown operation", f"{op} with {len(body)} more parts is no sender's")
        return bool(body)

    def gone(self, route: bytes) -> None:
        """What was not settled comes again from elsewhere."""

    def flush(self) -> None:
        ranges: dict[bytes, list[list[object]]] = {}
        while self._said:
            route, series, seq, cause = self._said.popleft()
            mine = ranges.setdefault(route, [])
            if mine and not cause and len(mine[-1]) == 3 and mine[-1][0] == series and mine[-1][2] == seq - 1:
                mine[-1][2] = seq
            else:
                mine.append([series, seq, seq, cause] if cause else [series, seq, seq])
        for route, mine in ranges.items():
            for at in range(0, len(mine), _AT_ONCE):
                # If it does not arrive, the items come again, and are settled again.
                self.link.say(route, pack("ack", tiles=mine[at : at + _AT_ONCE]))
