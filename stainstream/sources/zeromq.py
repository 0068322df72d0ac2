"""A feed over ZeroMQ."""

from __future__ import annotations

import itertools
import logging
import platform
import threading
import time
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import msgspec
import zmq

from stainstream.config import Settings
from stainstream.endpoint import Socket, attach, detach
from stainstream.errors import SourceError, WireError
from stainstream.feed.live import Wanting
from stainstream.frame import Frame
from stainstream.receipt import Receipt
from stainstream.security import Curve
from stainstream.wire import TABLE
from stainstream.wire.base import MAX_FRAME_BYTES, UNNUMBERED, Buffer, Codec

from .base import Feed
from .inlet import Inlet
from .rate import RateLimit

__all__ = ["ZeroMQ"]

_log = logging.getLogger(__name__)

Message: TypeAlias = tuple[list[Buffer], Receipt | None]

_KINDS = {"sub": zmq.SUB, "pull": zmq.PULL, "rep": zmq.REP}
_WAIT_MS = 100  # after which a wait for a message looks whether it shall stop
_SILENCE_S = 5.0  # after which a feed that never sent anything is remarked upon
_COMPLAIN_EVERY_S = 1.0
_BESIDE_IMAGE = 64 << 10  # bytes that a message's part may have beyond those of the largest image
_LIVE_RCVBUF = 1 << 20  # a live feed shall not pile up in the system: about one frame


class ZeroMQ(Feed):
    """Frames from ``zmq+tcp://host:port``, ``zmq+ipc://path`` or ``zmq+inproc://name``, in a named wire format.

    Malformed messages are counted in `rejected` and logged, once a second at most. Gaps in the feed's own numbering add
    to `lost`; where it goes back, or names a new ``epoch``, it was started anew. Frames that bear no number are counted
    here. A message of more than ``max_frame_bytes`` is not even received: ZeroMQ drops the connection, and connects
    again.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        format: Literal["stainstream", "array-1.0", "imagezmq", "netgear", "dectris-v2"] = "stainstream"
        """The wire format."""
        delivery: Literal["", "live", "lossless", "acknowledged"] = ""
        """``live``: the newest frame, when we are ready for it. ``lossless``: the same as pattern ``pull``.
        ``acknowledged``: the feed keeps each tile until all sinks have accepted it. See docs/feeds.md."""
        pattern: Literal["sub", "pull", "rep"] | None = None
        """``sub`` (default) for a feed that publishes, ``pull`` for one that pushes, ``rep`` for one that requests
        (imagezmq)."""
        bind: bool | None = None
        """Whether to bind instead of connecting; by default only a ``rep`` does, imagezmq's hub."""
        topic: str = ""
        """What messages must begin with, of a publishing feed."""
        hwm: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4
        """Messages that may wait in ZeroMQ's queue."""
        max_frame_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = MAX_FRAME_BYTES
        """Bytes that an image may have."""
        max_rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0
        """Messages a second that may come, a feed's status among them; what is beyond is not read. 0: no limit."""
        name: str = ""
        """What we call ourselves to an acknowledged or live feed; by default this computer's name."""
        curve: str = ""
        """Own secret key file, to encrypt."""
        keys: str = ""
        """Public keys that are trusted: of an end that is bound, a folder of those who may connect."""
        conflate: bool = False
        """Refused: delivery=live is what it would be for."""

        def __post_init__(self) -> None:
            if self.conflate:
                raise ValueError(
                    "conflate takes messages of several parts apart, or ends the process: use delivery=live"
                )
            if self.delivery and self.pattern and (self.delivery, self.pattern) != ("lossless", "pull"):
                raise ValueError(f"delivery={self.delivery} and pattern={self.pattern} exclude each other")

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec: Codec = TABLE[options.format].load()(max_frame_bytes=options.max_frame_bytes)
        self._pattern = options.pattern or ("pull" if options.delivery == "lossless" else "sub")
        self._curve = Curve.of(options.curve, options.keys)
        self._limit = RateLimit(options.max_rate)
        self._socket: Socket | None = None
        self._inlet: Inlet | None = None
        self._wanting: Wanting | None = None
        self._receiving = threading.Lock()
        self._counter = itertools.count()
        self._last: tuple[object, int] | None = None
        self._rejected_since = 0
        self._silent_s = float("inf")
        self._complained_s, self._unsaid = float("-inf"), 0
        self.address = ""
        """Where the open socket is bound or connected to, without ``zmq+``."""

    @property
    def waits(self) -> bool:
        return self.options.delivery != "live" and (self.keeps or self._pattern != "sub")

    @property
    def keeps(self) -> bool:
        return self.options.delivery == "acknowledged"

    @property
    def unsettled(self) -> int:
        """Tiles of an acknowledged feed that are under way here."""
        return 0 if self._inlet is None else self._inlet.in_hand

    def _open(self) -> None:
        self._last, self._silent_s = None, time.monotonic() + _SILENCE_S
        options, name = self.options, self.options.name or platform.node() or "stainstream"
        bind = self._pattern == "rep" if options.bind is None else options.bind
        if self.keeps:
            self._inlet = Inlet(
                self.target,
                bind=bind,
                name=name,
                max_frame_bytes=options.max_frame_bytes,
                relay=self.relay,
                curve=self._curve,
            )
            self._inlet.receiver.link.open()
            self.address = self._inlet.receiver.link.address
        elif options.delivery == "live":
            self._wanting = Wanting(
                self.target, bind=bind, name=name, max_frame_bytes=options.max_frame_bytes, curve=self._curve
            )
            self._wanting.link.open()
            self.address = self._wanting.link.address
        else:
            self._attach(bind)

    def _attach(self, bind: bool) -> None:
        options = self.options
        settings: dict[int, int | bytes] = {
            zmq.RCVHWM: options.hwm,
            zmq.RCVTIMEO: _WAIT_MS,
            zmq.MAXMSGSIZE: options.max_frame_bytes + _BESIDE_IMAGE,
        }
        if self._pattern == "sub":
            settings |= {zmq.SUBSCRIBE: options.topic.encode(), zmq.RCVBUF: _LIVE_RCVBUF}
        self._socket = attach(_KINDS[self._pattern], self.target, bind, settings, SourceError, curve=self._curve)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _close(self) -> None:
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            inlet.receiver.close()
        wanting, self._wanting = self._wanting, None
        if wanting is not None:
            wanting.link.close()
        with self._receiving:
            opened, self._socket = self._socket, None
            if opened is not None:
                detach(opened)

    def take(self, timeout: float) -> Frame | None:
        if self.stopping.is_set():
            return None
        message = self._next(timeout)
        if message is None:
            self._wonder()
            return None
        self._silent_s = float("inf")
        parts, receipt = message
        try:
            self._limit.check()
            frame = self._codec.decode(parts)
            if receipt is not None and frame is None:
                raise WireError("no frame", "a tile's message must be one")
        except WireError as error:
            self._reject(error)
            if receipt is not None:
                receipt.refuse(error.cause)
            return None
        if frame is None:
            return None
        return self._numbered(frame) if receipt is None else replace(frame, seq=receipt.sequence, receipt=receipt)

    def _wonder(self) -> None:
        """Remark, once, upon a feed that has not sent anything yet."""
        if time.monotonic() > self._silent_s:
            self._silent_s = float("inf")
            _log.warning(
                "%s is silent: is it on, and does %s fit how it sends?",
                self.target,
                f"delivery={self.options.delivery}" if self.options.delivery else f"pattern={self._pattern}",
            )

    def _next(self, timeout: float) -> Message | None:
        """The next message, if there is one in time."""
        if (inlet := self._inlet) is not None:
            tile = inlet.take(timeout)
            return None if tile is None else (list(tile[0]), tile[1])
        if (wanting := self._wanting) is not None:
            body = wanting.take(timeout)
            return None if body is None else (list(body), None)
        with self._receiving:  # as long as the socket is used, and no longer
            parts = [] if self._socket is None else self._received(self._socket, timeout)
        return (parts, None) if parts else None

    def _received(self, opened: Socket, timeout: float) -> list[Buffer]:
        """The parts of the next message, still in ZeroMQ's own memory; none if there was no message in time."""
        try:
            part = opened.recv(0 if timeout else zmq.DONTWAIT, copy=False)
            parts: list[Buffer] = [self._view(part)]
            while part.more:
                part = opened.recv(copy=False)
                parts.append(self._view(part))
            if self._pattern == "rep":
                opened.send(b"OK")
        except zmq.Again:
            return []
        except zmq.ZMQError as error:
            raise SourceError(f"lost {self.target}", str(error)) from error
        return parts

    def _view(self, part: zmq.Frame) -> memoryview:
        """The part's memory; over inproc it is the sender's own, and not ours to overwrite."""
        view = memoryview(part.buffer)
        return view.toreadonly() if self.address.startswith("inproc:") else view

    def _numbered(self, frame: Frame) -> Frame:
        """The frame with a number; counts those that the feed's own numbers say are missing before it."""
        if frame.seq == UNNUMBERED:
            return replace(frame, seq=next(self._counter))
        epoch = frame.meta.get("epoch")
        if self.options.delivery in ("live", "acknowledged"):
            return frame  # what such feeds leave out is not lost
        if self._last is not None and isinstance(epoch, str | None) and epoch == self._last[0]:
            # Rejected messages are missing too, but did reach us.
            self.lost += max(0, frame.seq - self._last[1] - 1 - self._rejected_since)
        self._last, self._rejected_since = (epoch, frame.seq), 0
        return frame

    def _reject(self, error: WireError) -> None:
        """Count a malformed message; log it, unless another one was logged within a second."""
        self.rejected[error.cause] += 1
        self._rejected_since += 1
        self._unsaid += 1
        if (now := time.monotonic()) - self._complained_s >= _COMPLAIN_EVERY_S:
            _log.warning("rejected %d message(s) from %s, the last one: %s", self._unsaid, self.target, error)
            self._complained_s, self._unsaid = now, 0
