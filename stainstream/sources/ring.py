"""Frames of another process of this computer, through shared memory."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from stainstream.config import Settings
from stainstream.errors import WireError
from stainstream.feed.ring import RingReader
from stainstream.frame import Frame
from stainstream.wire.base import MAX_FRAME_BYTES
from stainstream.wire.native import Native

from .base import Feed

__all__ = ["Ring"]


class Ring(Feed):
    """Frames from ``shm://NAME``, where a sink of another process writes them; read where they lie."""

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        delivery: Literal["live", "lossless"] = "live"
        """As the sink's: ``live`` for the newest frame, ``lossless`` for each."""
        max_frame_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = MAX_FRAME_BYTES
        """Bytes that an image may have."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec = Native(max_frame_bytes=options.max_frame_bytes)
        self._reader: RingReader | None = None

    @property
    def waits(self) -> bool:
        return self.options.delivery == "lossless"

    def _open(self) -> None:
        name, limit = self.target.partition("://")[2], self.options.max_frame_bytes
        self._reader = RingReader(name, lossless=self.waits, max_frame_bytes=limit)
        self._reader.link.open()

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def take(self, timeout: float) -> Frame | None:
        reader = self._reader
        body = None if reader is None or self.stopping.is_set() else reader.take(timeout)
        if reader is None or body is None:
            return None
        try:
            return self._codec.decode(body)
        except WireError as error:
            self.rejected[error.cause] += 1
            reader.link.reject(error.cause, error)
            return None
