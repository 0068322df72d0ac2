"""Frames over ZeroMQ."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import zmq

from stainstream.compression import ENCODINGS
from stainstream.config import Settings
from stainstream.endpoint import Socket, attach, detach, in_message
from stainstream.errors import SinkError, WireError
from stainstream.feed.live import Newest
from stainstream.feed.publisher import Publisher
from stainstream.frame import Frame
from stainstream.receipt import Note
from stainstream.security import Curve
from stainstream.wire import TABLE
from stainstream.wire.base import Buffer, Codec
from stainstream.wire.imagezmq import ImageZMQ
from stainstream.wire.native import Native
from stainstream.wire.netgear import NetGear

from .base import Sink
from .herald import Herald
from .outlet import Outlet

__all__ = ["ZeroMQ"]

_log = logging.getLogger(__name__)

_KINDS = {"pub": zmq.PUB, "push": zmq.PUSH}
_ENCODINGS = {"stainstream": ("", *ENCODINGS), "imagezmq": ("", "jpeg"), "netgear": ("", "jpeg")}
_SLICE_MS = 100  # after which a send that waits looks whether it shall give up
_NEAR_SNDBUF = 1 << 20  # of a Unix socket: about one frame, where the system's default is a fourth of one
_LIVE_SNDBUF = 1 << 20  # what is published shall not pile up in the system: about one frame


class ZeroMQ(Sink):
    """Sends frames from ``zmq+tcp://host:port``, ``zmq+ipc://path`` or ``zmq+inproc://name``, in a named wire format.

    A publisher (``pub``) never waits: for a subscriber that cannot keep up ZeroMQ drops frames, which shows as gaps in
    the numbers. A pusher (``push``) waits until a consumer takes the frame; several consumers share them.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        format: Literal["stainstream", "array-1.0", "imagezmq", "netgear", "dectris-v2"] = "stainstream"
        """The wire format."""
        delivery: Literal["", "live", "lossless", "acknowledged"] = ""
        """``live``: each receiver gets the newest frame when it is ready for it. ``lossless``: the same as pattern
        ``push``. ``acknowledged``: each frame is kept until the subscriber has accepted it. See docs/feeds.md."""
        pattern: Literal["pub", "push"] | None = None
        """Whether every subscriber gets each frame (``pub``, default), or one of the consumers."""
        bind: bool = True
        """Whether to bind, or to connect to where the receiver is bound."""
        topic: str = "normalized"
        """What subscribers select by; only format ``stainstream`` has topics."""
        encoding: Literal["", "lz4", "zstd", "jpeg"] = ""
        """How frames are compressed (``stainstream``; ``imagezmq`` and ``netgear``: ``jpeg``, which loses a little)."""
        quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90
        """Of a JPEG."""
        single: bool = False
        """Whether to send messages of one part (format ``stainstream``), without topics."""
        announce: bool = True
        """Whether to send start, status and end, too, where the format has them (patterns ``pub`` and ``push``)."""
        hwm: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4
        """Frames that may wait in ZeroMQ's queue, for each receiver."""
        linger: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
        """Seconds that the last frames may take to leave when the sink is closed."""
        window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
        """Frames that may be kept of a series of our own (acknowledged)."""
        window_mb: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 256
        """Megabytes of them."""
        series: str = ""
        """Name of that series; it must be another one each time. Made up by default."""
        journal: str = ""
        """File that remembers how far the series has come, to go on from there."""
        name: str = "stainstream"
        """What we call ourselves to receivers of an acknowledged or live feed."""
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
            if self.delivery and self.pattern and (self.delivery, self.pattern) != ("lossless", "push"):
                raise ValueError(f"delivery={self.delivery} and pattern={self.pattern} exclude each other")
            if self.format != "stainstream" and self.single:
                raise ValueError(f"single is for format=stainstream, not {self.format}")
            if self.encoding not in _ENCODINGS.get(self.format, ("",)):
                raise ValueError(f"format={self.format} knows no encoding={self.encoding}")

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec: Codec = _codec(options)
        self._pattern = options.pattern or ("push" if options.delivery == "lossless" else "pub")
        self._curve = Curve.of(options.curve, options.keys)
        self._socket: Socket | None = None
        self._publisher: Publisher | None = None
        self._outlet: Outlet | None = None
        self._newest: Newest | None = None
        self._sending = threading.Lock()
        self._herald: Herald | None = None
        self.address = ""
        """Where the open socket is bound or connected to, without ``zmq+``."""

    @property
    def prompt(self) -> bool:
        return True

    @property
    def unsettled(self) -> int:
        """Frames that are kept until the subscriber has accepted them."""
        return 0 if self._publisher is None else self._publisher.sender.unsettled

    def _open(self) -> None:
        options = self.options
        if options.delivery == "acknowledged":
            self._publisher = Publisher(
                self.target,
                bind=options.bind,
                window=options.window,
                window_bytes=options.window_mb << 20,
                journal=options.journal or None,
                name=options.name,
                curve=options.curve,
                keys=options.keys,
            )
            self._publisher.open()
            self._outlet = Outlet(self._publisher, self._encoded, options.series)
            self.address = self._publisher.address
        elif options.delivery == "live":
            self._newest = Newest(self.target, bind=options.bind, name=options.name, curve=self._curve)
            self._newest.link.open()
            self.address = self._newest.link.address
        else:
            self._attach()

    def _attach(self) -> None:
        options: dict[int, int | bytes] = {zmq.SNDHWM: self.options.hwm, zmq.SNDTIMEO: _SLICE_MS}
        if self._pattern == "pub":
            options[zmq.SNDBUF] = _LIVE_SNDBUF
        else:
            options[zmq.IMMEDIATE] = 1  # or frames would wait for a consumer that is not there
            if self.target.lower().startswith(("ipc:", "zmq+ipc:")):
                options[zmq.SNDBUF] = _NEAR_SNDBUF
        self._socket = attach(
            _KINDS[self._pattern], self.target, self.options.bind, options, SinkError, curve=self._curve
        )
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._herald = Herald(self._codec, self._try) if self.options.announce else None

    def _close(self) -> None:
        publisher, self._publisher, self._outlet = self._publisher, None, None
        if publisher is not None:
            publisher.close()
        newest, self._newest = self._newest, None
        if newest is not None:
            newest.link.close(self.options.linger)
        herald, self._herald = self._herald, None
        if herald is not None:
            herald.end()
        with self._sending:
            opened, self._socket = self._socket, None
            if opened is not None:
                detach(opened, 0.0 if self.stopping.is_set() else self.options.linger)

    def stop(self) -> None:
        super().stop()
        if (publisher := self._publisher) is not None:
            publisher.stopping.set()

    def submit(self, frame: Frame, done: Callable[[str], None]) -> None:
        if (outlet := self._outlet) is not None:
            outlet.submit(frame, done)
        else:
            super().submit(frame, done)

    def relay(self, note: Note) -> None:
        if (outlet := self._outlet) is not None:
            outlet.relay(note)
        elif self.options.delivery != "acknowledged":  # such a one that is closed has not passed it on
            super().relay(note)

    def finish(self, *, ended: bool) -> None:
        if (outlet := self._outlet) is not None:
            outlet.finish(ended=ended)

    def write(self, frame: Frame) -> None:
        """Send one frame; its image is sent from where it lies, and referred to until it has left."""
        if (outlet := self._outlet) is not None:
            outlet.submit(frame, lambda _: None)
        elif (newest := self._newest) is not None:
            newest.give(self._encoded(frame))
        else:
            self._announced(frame, self._herald)

    def _announced(self, frame: Frame, herald: Herald | None) -> None:
        """Send one frame, and before the first one, what it will be like."""
        parts = self._encoded(frame)
        try:
            if herald is not None:
                herald.begin(frame, lambda message: self._send(frame.seq, message))
            self._send(frame.seq, parts)
        except SinkError as error:
            if herald is not None:
                herald.count(frame.seq, error.reason)
            raise
        if herald is not None:
            herald.count(frame.seq)

    def _encoded(self, frame: Frame) -> list[Buffer]:
        try:
            return self._codec.encode(frame)
        except WireError as error:
            raise SinkError(f"cannot send frame {frame.seq} to {self.target}", str(error)) from error

    def _send(self, seq: int, parts: list[Buffer]) -> None:
        asked = f"cannot send frame {seq} to {self.target}"
        with self._sending:
            if self._socket is None:
                raise SinkError(asked, "it is not open")
            while True:
                try:
                    self._socket.send_multipart([*parts[:-1], in_message(parts[-1])], copy=False)
                except zmq.Again as error:
                    if self.stopping.is_set() or not self.is_open:
                        raise SinkError(asked, "no consumer took it") from error
                except zmq.ZMQError as error:
                    raise SinkError(asked, str(error)) from error
                else:
                    return

    def _try(self, parts: list[Buffer]) -> None:
        """Send a message that may be left out."""
        if self._sending.acquire(blocking=False):
            try:
                if self._socket is not None:
                    self._socket.send_multipart(parts, zmq.DONTWAIT)
            except zmq.ZMQError as error:
                _log.debug("left out an announcement to %s: %s", self.target, error)
            finally:
                self._sending.release()


def _codec(options: ZeroMQ.Options) -> Codec:
    if options.format == "stainstream":
        encoding, quality = options.encoding, options.quality
        return Native(topic=options.topic, encoding=encoding, quality=quality, single=options.single)
    jpeg = options.quality if options.encoding else None
    if options.format == "imagezmq":
        return ImageZMQ(quality=jpeg)
    if options.format == "netgear":
        return NetGear(quality=jpeg)
    return TABLE[options.format].load()()
