"""A feed over ZeroMQ."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import msgspec
import zmq

from stainstream.config import Settings
from stainstream.endpoint import Socket, attach, detach
from stainstream.errors import SourceError, WireError
from stainstream.frame import Frame
from stainstream.wire import TABLE
from stainstream.wire.base import MAX_FRAME_BYTES, UNNUMBERED, Buffer, Codec

from .base import Source

__all__ = ["ZeroMQ"]

_log = logging.getLogger(__name__)

_KINDS = {"sub": zmq.SUB, "pull": zmq.PULL, "rep": zmq.REP}
_WAIT_MS = 100  # after which a wait for a message looks whether it shall stop
_SILENCE_S = 5.0  # after which a feed that never sent anything is remarked upon
_COMPLAIN_EVERY_S = 1.0
_BESIDE_IMAGE = 64 << 10  # bytes that a message's part may have beyond those of the largest image
_LIVE_RCVBUF = 1 << 20  # a live feed shall not pile up in the system: about one frame


class ZeroMQ(Source):
    """Frames from ``zmq+tcp://host:port``, ``zmq+ipc://path`` or ``zmq+inproc://name``, in a named wire format.

    Malformed messages are counted in `rejected` and logged, once a second at most. Gaps in the feed's own numbering add
    to `lost`; where it goes back, or names a new ``epoch``, it was started anew. Frames that bear no number are counted
    here. A message of more than ``max_frame_bytes`` is not even received: ZeroMQ drops the connection, and connects
    again.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        format: Literal["stainstream", "array-1.0", "imagezmq"] = "stainstream"
        """The wire format."""
        pattern: Literal["sub", "pull", "rep"] = "sub"
        """``sub`` for a feed that publishes, ``pull`` for one that pushes, ``rep`` for one that requests (imagezmq)."""
        bind: bool | None = None
        """Whether to bind instead of connecting; by default only a ``rep`` does, imagezmq's hub."""
        topic: str = ""
        """What messages must begin with, of a publishing feed."""
        hwm: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4
        """Messages that may wait in ZeroMQ's queue."""
        max_frame_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = MAX_FRAME_BYTES
        """Bytes that an image may have."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec: Codec = TABLE[options.format].load()(max_frame_bytes=options.max_frame_bytes)
        self._socket: Socket | None = None
        self._receiving = threading.Lock()
        self._counter = itertools.count()
        self._last: tuple[object, int] | None = None
        self._rejected_since = 0
        self._complained_s, self._unsaid = float("-inf"), 0
        self.address = ""
        """Where the open socket is bound or connected to, without ``zmq+``."""

    @property
    def waits(self) -> bool:
        return self.options.pattern != "sub"

    def _open(self) -> None:
        options = self.options
        settings: dict[int, int | bytes] = {
            zmq.RCVHWM: options.hwm,
            zmq.RCVTIMEO: _WAIT_MS,
            zmq.MAXMSGSIZE: options.max_frame_bytes + _BESIDE_IMAGE,
        }
        if options.pattern == "sub":
            settings |= {zmq.SUBSCRIBE: options.topic.encode(), zmq.RCVBUF: _LIVE_RCVBUF}
        bind = options.pattern == "rep" if options.bind is None else options.bind
        self._socket = attach(_KINDS[options.pattern], self.target, bind, settings, SourceError)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._last = None

    def _close(self) -> None:
        with self._receiving:
            opened, self._socket = self._socket, None
            if opened is not None:
                detach(opened)

    def __iter__(self) -> Iterator[Frame]:
        if not self.is_open:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        for parts in self._messages():
            try:
                frame = self._codec.decode(parts)
            except WireError as error:
                self._reject(error)
                continue
            if frame is not None:
                yield self._numbered(frame)

    def _messages(self) -> Iterator[list[Buffer]]:
        """Messages until `stop` or `close`; the lock is held while the socket is used, and only then."""
        patience = time.monotonic() + _SILENCE_S
        while self.is_open and not self.stopping.is_set():
            with self._receiving:
                if self._socket is None:
                    return
                parts = self._received(self._socket)
            if parts:
                patience = float("inf")
                yield parts
            elif time.monotonic() > patience:
                patience = float("inf")
                _log.warning(
                    "%s is silent: is it on, and does pattern=%s fit how it sends?", self.target, self.options.pattern
                )

    def _received(self, opened: Socket) -> list[Buffer]:
        """The parts of the next message, still in ZeroMQ's own memory; none if there was no message for a while."""
        try:
            part = opened.recv(copy=False)
            parts: list[Buffer] = [self._view(part)]
            while part.more:
                part = opened.recv(copy=False)
                parts.append(self._view(part))
            if self.options.pattern == "rep":
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
