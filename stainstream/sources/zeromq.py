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
        kind = TABLE[options.format].load()
        self._codec: Codec = kind(max_frame_bytes=options.max_frame_bytes)
        self._socket: Socket | None = None
        self._receiving = threading.Lock()
        self._numbers = itertools.count()
        self._last: tuple[object, int] | None = None
        self._rejected_since = 0
        self._complained, self._silent = float("-inf"), 0

    @property
    def waits(self) -> bool:
        return self.options.pattern != "sub"

    @property
    def address(self) -> str:
        """Where the socket is bound or connected to, without ``zmq+``."""
        ...
