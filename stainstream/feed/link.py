"""One end of a feed: a socket, who is at the other end, and whether they are still there."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from stainstream.delivery import monitor_of, unwatch
from stainstream.endpoint import Socket, attach, detach, in_message
from stainstream.errors import SinkError, SourceError, UsageError, WireError
from stainstream.security import Curve

from .hub import HUB
from .message import Envelope, unpack

__all__ = ["Body", "Link", "Talker"]

_log = logging.getLogger(__name__)

Body: TypeAlias = list[memoryview]
"""The parts of a message behind its envelope."""

_GREET_S = 1.0
_SILENCE_S = 5.0  # after which who says nothing is taken for gone
_PATIENCE_S = 300.0  # the most that waiting for a message on a slow line may take
_TURN = 64  # messages that are read before others have their turn
_PARTS = 8
_PEERS = 256
_COMPLAIN_EVERY_S = 1.0
_ALONE = b""  # the route of the one peer of a socket that connects
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)
_OPTIONS: dict[int, int | bytes] = {
    zmq.RCVHWM: 64,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.RECONNECT_IVL_MAX: 1000,
}


class Talker(Protocol):
    """What has something to say over a link; all of it on the hub's thread."""

    forgets: bool
    """Whether peers that are silent are forgotten: senders do, so that what they gave them is given to others."""

    def greeting(self) -> bytes:
        """What to say to everybody, on connection and once a second."""

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        """Take a message; whether it shows that the line still carries what matters."""

    def gone(self, route: bytes) -> None:
        """A peer is gone: what it was given last may be lost."""

    def flush(self) -> None:
        """Send what is to be sent."""


class Link:
    """A ROUTER where it is bound, a DEALER where it connects.

    One connection is one session: after a disconnection, which may have lost messages, a DEALER is replaced by a new
    one instead of going on with the old; to a ROUTER each connection is another peer anyway. So whatever was said to a
    peer either arrives, in order, or the peer turns out to be gone.

    Parameters
    ----------
    target
        ``tcp://host:port`` ... with or without ``zmq+``.
    options
        ZeroMQ's socket options, beyond those of every link.
    curve
        Keys, to encrypt and to know who connects.
    """

    def __init__(
        self,
        target: str,
        bind: bool,
        talker: Talker,
        failure: type[SourceError | SinkError],
        options: Mapping[int, int | bytes],
        curve: Curve | None = None,
    ) -> None:
        self.target, self.bound = target, bind
        self.rejected: Counter[str] = Counter()
        """Messages that were malformed, or beyond what is allowed, by cause."""
        self.address = ""
        """Where the open socket is bound or connected to."""
        self._talker, self._failure = talker, failure
        self._curve = curve
        # Never IMMEDIATE for the DEALER: when the other end dies, libzmq then takes the pipe away even between two
        # parts of a message that is being received, and aborts the process (fq.cpp: !_more).
        mandatory: dict[int, int | bytes] = {zmq.ROUTER_MANDATORY: 1} if bind else {}
        self._options = {**_OPTIONS, **mandatory, **options}
        self._socket: Socket | None = None
        self._monitor: Socket | None = None
        self._peers: dict[bytes, float] = {}
        self._patience = _SILENCE_S
        self._greet_at = 0.0
        self._complained_s, self._unsaid = float("-inf"), 0

    def open(self) -> None:
        """Bind or connect, and be served."""
        self.address = ""
        self._attach()
        HUB.join(self)

    def close(self, linger_s: float = 0.0) -> None:
        """Be served no more, and let go of the address."""
        HUB.leave(self)
        self._detach(linger_s)

    @property
    def peers(self) -> Sequence[bytes]:
        """Routes to who is there."""
        return list(self._peers)

    @property
    def is_open(self) -> bool:
        """Whether it is served."""
        return self._socket is not None

    def say(self, route: bytes, *parts: bytes | bytearray | memoryview) -> bool:
        """Send a message, without waiting; False if the peer is gone, who is then still to be dropped."""
        if self._socket is None:
            return False
        message = [*parts[:-1], in_message(parts[-1])]
        try:
            self._socket.send_multipart([route, *message] if self.bound else message, zmq.DONTWAIT, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        return True

    def drop(self, route: bytes) -> None:
        """Forget a peer; the talker does in any case, or it might try to reach him for ever."""
        self._peers.pop(route, None)
        self._talker.gone(route)

    def reject(self, cause: str, what: object = "") -> None:
        """Count a message that is not used; log it, unless another one was logged within a second."""
        self.rejected[cause] += 1
        self._unsaid += 1
        if (now := time.monotonic()) - self._complained_s >= _COMPLAIN_EVERY_S:
            _log.warning("rejected %d message(s) at %s, the last one: %s", self._unsaid, self.target, what or cause)
            self._complained_s, self._unsaid = now, 0

    def sockets(self) -> Sequence[Socket]:
        return [each for each in (self._socket, self._monitor) if each is not None]

    def serve(self, opened: Socket) -> None:
        if opened is self._monitor:
            while self._monitor is opened and opened.poll(0):
                self._notice(recv_monitor_message(opened, zmq.DONTWAIT)["event"])
            return
        for _ in range(_TURN):
            if opened is not self._socket or (parts := self._received(opened)) is None:
                return
            self._hear(parts)

    def beat(self, now: float) -> None:
        if self._socket is None:
            self._reopen()
        if now >= self._greet_at:
            self._greet_at = now + _GREET_S
            for route in list(self._peers):
                self._greet(route)
        for route, heard in list(self._peers.items()):
            if not self.bound and now - heard > self._patience:
                self._patience = min(2 * self._patience, _PATIENCE_S)
                self._reopen()
            elif self.bound and self._talker.forgets and now - heard > _SILENCE_S:
                self.drop(route)

    def flush(self) -> None:
        self._talker.flush()

    def recover(self) -> None:
        """All connections end, so that both ends know that what was said last may be lost."""
        self._reopen()

    def _hear(self, parts: Body) -> None:
        route = bytes(parts.pop(0)) if self.bound else _ALONE
        if route not in self._peers and len(self._peers) >= _PEERS:
            self.reject("too many peers")
            return
        fresh = route not in self._peers
        self._peers[route] = time.monotonic()
        if fresh:
            self._greet(route)
            if route not in self._peers:
                return  # what it said before it went away is of no use, and it cannot be answered
        try:
            if not parts or len(parts) > _PARTS:
                raise WireError("wrong number of parts", f"it has more than {_PARTS}, or none")
            envelope = unpack(parts[0])
        except WireError as error:
            self.reject(error.cause, error)
            return
        if self._talker.hear(route, envelope, parts[1:]):
            self._patience = _SILENCE_S

    def _received(self, opened: Socket) -> Body | None:
        """The parts of the next message, in ZeroMQ's own memory; no more of them than tell that they are too many."""
        try:
            part = opened.recv(zmq.DONTWAIT, copy=False)
            parts = [self._view(part)]
            while part.more:
                part = opened.recv(copy=False)
                if len(parts) < _PARTS + 2:
                    parts.append(self._view(part))
        except zmq.Again:
            return None
        return parts

    def _view(self, part: zmq.Frame) -> memoryview:
        """The part's memory; over inproc it is the sender's own, and not ours to overwrite."""
        view = memoryview(part.buffer)
        return view.toreadonly() if self.target.removeprefix("zmq+").startswith("inproc:") else view

    def _greet(self, route: bytes) -> None:
        if not self.say(route, self._talker.greeting()):
            self.drop(route)

    def _notice(self, event: int) -> None:
        """Something happened to a connection."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if not self.bound:
                self._peers[_ALONE] = time.monotonic()
                self._greet(_ALONE)
        elif event == zmq.EVENT_DISCONNECTED:
            if self.bound:
                self._greet_at = 0.0  # greeting everybody tells who it was
            elif self._peers:
                self._reopen()
        else:
            self.reject("refused connection", "a handshake failed: do both sides use the same kind of keys?")

    def _attach(self) -> None:
        kind = zmq.ROUTER if self.bound else zmq.DEALER
        target = self.address or self.target if self.bound else self.target  # a port that was any free one is this one
        opened = attach(kind, target, self.bound, self._options, self._failure, events=_EVENTS, curve=self._curve)
        self._socket, self._monitor = opened, monitor_of(opened)
        self.address = opened.getsockopt_string(zmq.LAST_ENDPOINT)

    def _detach(self, linger_s: float) -> None:
        opened, self._socket, self._monitor = self._socket, None, None
        if opened is not None:
            unwatch(opened)
            detach(opened, linger_s)

    def _reopen(self) -> None:
        """Begin a new session."""
        for route in list(self._peers):
            self.drop(route)
        self._detach(0.0)
        try:
            self._attach()
        except (SourceError, SinkError, UsageError) as error:
            self.reject("cannot connect", error)  # no name server, no key file at the moment: the next beat tries again
        HUB.rewire()
