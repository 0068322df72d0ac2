"""Frames over ZeroMQ."""

from __future__ import annotations

import threading
from typing import Annotated, Literal

import msgspec
import zmq

from stainstream.config import Settings
from stainstream.endpoint import Socket, attach, detach
from stainstream.errors import SinkError, WireError
from stainstream.frame import Frame
from stainstream.wire import TABLE
from stainstream.wire.base import Codec
from stainstream.wire.native import Native

from .base import Sink

__all__ = ["ZeroMQ"]

_KINDS = {"pub": zmq.PUB, "push": zmq.PUSH}
_SLICE_MS = 100  # after which a send that waits looks whether it shall give up
_LIVE_SNDBUF = 1 << 20  # what is published shall not pile up in the system: about one frame


class ZeroMQ(Sink):
    """Sends frames from ``zmq+tcp://host:port``, ``zmq+ipc://path`` or ``zmq+inproc://name``, in a named wire format.

    A publisher (``pub``) never waits: for a subscriber that cannot keep up ZeroMQ drops frames, which shows as gaps in
    the numbers. A pusher (``push``) waits until a consumer takes the frame; several consumers share them.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        format: Literal["stainstream", "array-1.0", "imagezmq"] = "stainstream"
        """The wire format."""
        pattern: Literal["pub", "push"] = "pub"
        """Whether every subscriber gets each frame, or one of the consumers."""
        bind: bool = True
        """Whether to bind, or to connect to where the receiver is bound."""
        topic: str = "normalized"
        """What subscribers select by; only format ``stainstream`` has topics."""
        hwm: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4
        """Frames that may wait in ZeroMQ's queue, for each receiver."""
        linger: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
        """Seconds that the last frames may take to leave when the sink is closed."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec: Codec = _codec(options)
        self._socket: Socket | None = None
        self._sending = threading.Lock()
        self.address = ""
        """Where the open socket is bound or connected to, without ``zmq+``."""

    def _open(self) -> None:
        options: dict[int, int | bytes] = {zmq.SNDHWM: self.options.hwm, zmq.SNDTIMEO: _SLICE_MS}
        if self.options.pattern == "pub":
            options[zmq.SNDBUF] = _LIVE_SNDBUF
        else:
            options[zmq.IMMEDIATE] = 1  # or frames would wait for a consumer that is not there
        self._socket = attach(_KINDS[self.options.pattern], self.target, self.options.bind, options, SinkError)
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _close(self) -> None:
        with self._sending:
            opened, self._socket = self._socket, None
            if opened is not None:
                detach(opened, 0.0 if self.stopping.is_set() else self.options.linger)

    def write(self, frame: Frame) -> None:
        """Send one frame; its image is sent from where it lies, and referred to until it has left."""
        asked = f"cannot send frame {frame.seq} to {self.target}"
        try:
            parts = self._codec.encode(frame)
        except WireError as error:
            raise SinkError(asked, str(error)) from error
        with self._sending:
            if self._socket is None:
                raise SinkError(asked, "it is not open")
            while True:
                try:
                    self._socket.send_multipart(parts, copy=False)
                except zmq.Again as error:
                    if self.stopping.is_set() or not self.is_open:
                        raise SinkError(asked, "no consumer took it") from error
                except zmq.ZMQError as error:
                    raise SinkError(asked, str(error)) from error
                else:
                    return


def _codec(options: ZeroMQ.Options) -> Codec:
    if options.format == "stainstream":
        return Native(topic=options.topic)
    return TABLE[options.format].load()()
