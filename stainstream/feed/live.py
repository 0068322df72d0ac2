"""Live feeds: the newest frame goes to whoever is ready for it, and nothing waits behind anything."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import zmq

from stainstream.errors import SinkError, SourceError
from stainstream.security import Curve

from .hub import HUB
from .link import Body, Link
from .message import ENVELOPE_BYTES, Envelope, pack
from .receiver import MAX_FRAME_BYTES

__all__ = ["Newest", "Wanting"]

_BESIDE_IMAGE = 64 << 10


@dataclass(slots=True, eq=False)
class _Viewer:
    seen: int
    """How many frames there had been when it got its last one."""
    ready: bool = False


class Newest:
    """The sending half: keeps the newest frame alone, and sends it to each receiver that says it is ready.

    Whoever is slow gets fewer frames, each as new as can be, with the number of those left out; others do not notice.
    """

    forgets = True

    def __init__(self, target: str, *, bind: bool, name: str = "stainstream", curve: Curve | None = None) -> None:
        self._name, self._session = name, uuid.uuid4().hex
        self.link = Link(target, bind, self, SinkError, {zmq.MAXMSGSIZE: ENVELOPE_BYTES}, curve)
        self.skipped = 0
        """Frames that a receiver was too slow for, over all of them."""
        self._viewers: dict[bytes, _Viewer] = {}
        self._given: tuple[int, Sequence[bytes | bytearray | memoryview]] = (0, ())

    def give(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Take the newest frame, a message of a wire format; from any thread, without waiting."""
        self._given = self._given[0] + 1, parts
        if self._viewers:
            HUB.wake()

    def greeting(self) -> bytes:
        return pack("ping", name=self._name, session=self._session)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        op = envelope["op"]
        if body:
            self.link.reject("wrong number of parts", "a receiver's messages have one part")
        elif op == "hello" and envelope["role"] == "live":
            viewer = self._viewers.setdefault(route, _Viewer(max(0, self._given[0] - 1)))
            viewer.ready = viewer.ready or envelope.get("ready") is True
        elif op == "hello":
            self.link.say(route, pack("refused", reason="this feed is live: ask with delivery=live"))
        elif op == "ready" and route in self._viewers:
            self._viewers[route].ready = True
        else:
            self.link.reject("unknown operation", f"{op} is no live receiver's")
        return True

    def gone(self, route: bytes) -> None:
        self._viewers.pop(route, None)

    def flush(self) -> None:
        count, parts = self._given
        for route, viewer in list(self._viewers.items()):
            if viewer.ready and viewer.seen < count:
                skipped, viewer.ready, viewer.seen = count - viewer.seen - 1, False, count
                self.skipped += skipped
                if not self.link.say(route, pack("frame", skipped=skipped), *parts):
                    self.link.drop(route)


class Wanting:
    """The receiving half: asks for one frame at a time, when it is ready for it."""

    forgets = False

    def __init__(
        self,
        target: str,
        *,
        bind: bool,
        name: str,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        curve: Curve | None = None,
    ) -> None:
        self._name, self._session = name, uuid.uuid4().hex
        self.link = Link(target, bind, self, SourceError, {zmq.MAXMSGSIZE: max_frame_bytes + _BESIDE_IMAGE}, curve)
        self.skipped = 0
        """Frames that were left out since we were too slow for them."""
        self._wanted = threading.Event()
        self._asked = False
        self._come: SimpleQueue[Body] = SimpleQueue()

    def take(self, timeout: float) -> Body | None:
        """Ask for the newest frame, unless it was asked for already, and wait for it; None after `timeout` seconds."""
        if not self._wanted.is_set() and self._come.empty():
            self._wanted.set()
            self._asked = False
            HUB.wake()
        try:
            return self._come.get(timeout=timeout)
        except Empty:
            return None

    def greeting(self) -> bytes:
        return pack("hello", role="live", name=self._name, session=self._session, ready=self._wanted.is_set())

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:  # noqa: ARG002 - whoever sent it
        op = envelope["op"]
        if op == "frame" and body:
            self.skipped += envelope["skipped"]
            self._wanted.clear()
            self._come.put(body)
        elif op == "refused":
            self.link.reject("refused", f"the feed refuses us: {envelope['reason']}")
        elif op != "ping":
            self.link.reject("unknown operation", f"{op} with {len(body)} more parts is no live sender's")
        return bool(body)

    def gone(self, route: bytes) -> None:
        """Another connection's greeting will ask again."""

    def flush(self) -> None:
        if self._wanted.is_set() and not self._asked:
            self._asked = True
            for route in self.link.peers:
                self.link.say(route, pack("ready"))
