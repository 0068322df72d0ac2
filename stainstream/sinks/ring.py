"""Frames to other processes of this computer, through shared memory."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from stainstream.config import Settings
from stainstream.errors import SinkError, WireError
from stainstream.feed.ring import RingWriter
from stainstream.frame import RGB8, Frame
from stainstream.wire.native import Native

from .base import Sink

__all__ = ["Ring"]


class Ring(Sink):
    """Writes frames to ``shm://NAME``; any number of processes of the same user read them there, without a copy."""

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        delivery: Literal["live", "lossless"] = "live"
        """``live``: each reader gets the newest frame when it is ready. ``lossless``: all get all; writing waits."""
        slots: Annotated[int, msgspec.Meta(ge=2, le=256)] = 16
        """Frames that may be read at once."""
        linger: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
        """Seconds that the last frames may take to be told of when the sink is closed."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._codec = Native()
        self._writer: RingWriter | None = None

    def _open(self) -> None:
        name = self.target.partition("://")[2]
        self._writer = RingWriter(name, slots=self.options.slots, lossless=self.options.delivery == "lossless")
        self._writer.link.open()

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(0.0 if self.stopping.is_set() else self.options.linger)

    @property
    def prompt(self) -> bool:
        return True

    def lend(self, height: int, width: int) -> RGB8 | None:
        writer = self._writer
        room = None if writer is None else writer.lend(3 * height * width)
        return None if room is None else room.reshape(height, width, 3)

    def write(self, frame: Frame) -> None:
        asked, writer = f"cannot write frame {frame.seq} to {self.target}", self._writer
        if writer is None:
            raise SinkError(asked, "it is not open")
        try:
            parts = self._codec.encode(frame)
        except WireError as error:
            raise SinkError(asked, str(error)) from error
        if not writer.give(parts, self.stopping):
            raise SinkError(asked, "no reader took it")
