"""Frames to a subscriber who says of each that it is safe."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stainstream.errors import FeedFull, SinkError
from stainstream.feed.publisher import Publisher, Series
from stainstream.feed.sender import Item
from stainstream.frame import Frame
from stainstream.receipt import Note, Receipt
from stainstream.wire.base import Buffer

__all__ = ["Outlet"]

_log = logging.getLogger(__name__)


class Outlet:
    """Sends tiles of an acknowledged feed on under their own numbers, and makes a series of all other frames.

    The former are not held up here: how many are under way is bounded by their scanner's window.

    Parameters
    ----------
    publisher
        Open as long as the sink is.
    encode
        Makes a message of a frame.
    series
        Name of the series that frames without one belong to; made up if it is empty.
    """

    def __init__(self, publisher: Publisher, encode: Callable[[Frame], Sequence[Buffer]], series: str) -> None:
        self._publisher, self._encode = publisher, encode
        self._name = series
        self._own: Series | None = None
        self._passed = 0

    def submit(self, frame: Frame, done: Callable[[str], None]) -> None:
        """Take a frame; see `Sink.submit`."""
        if frame.receipt is None:
            self._append(frame, done)
            return
        self._publisher.sender.submit(_item("tile", frame.receipt, done, self._encode(frame), {}))

    def relay(self, note: Note) -> None:
        """Pass on what stands between tiles."""

        def told(cause: str) -> None:
            note.receipt.refuse(cause) if cause else note.receipt.accept()

        self._publisher.sender.submit(_item(note.op, note.receipt, told, (), note.more))

    def finish(self, *, ended: bool) -> None:
        """Wait until all frames were accepted; announce the end of the own series."""
        own, publisher = self._own, self._publisher
        try:
            if own is not None and ended:
                counts = own.end()
                _log.info("series %s has ended: %s", own.name, counts)
            elif own is not None:
                publisher.window.drained(None, publisher.stopping)
        except FeedFull as error:
            raise SinkError(error.asked, error.reason, error.cure) from error

    def _append(self, frame: Frame, done: Callable[[str], None]) -> None:
        if self._own is None:
            self._own = self._publisher.begin(self._name or uuid.uuid4().hex)
        own, place = self._own, self._passed
        self._passed += 1
        if place < own.next:  # accepted before the program was started anew
            done("")
            return
        about = {"series": own.name, "epoch": own.epoch}
        try:
            own.put(self._encode(replace(frame, seq=own.next, meta={**frame.meta, **about})), done=done)
        except FeedFull as error:
            raise SinkError(error.asked, error.reason) from error


def _item(
    op: str, receipt: Receipt, told: Callable[[str], None], body: Sequence[Buffer], more: Mapping[str, object]
) -> Item:
    return Item(op, receipt.series, receipt.sequence, lambda: receipt.base, told, body, more)
