"""The capture process: opens a camera, puts its pictures into the ring, and ends when its owner does."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
import zlib
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.config import redacted
from stainstream.errors import SourceError, StainstreamError

from .driver import Driver, Shot
from .memory import Shared
from .messages import Failure, Found, Message, Opened, Order, Picture, Said, Trouble, encode
from .ring import Ring, size_of

__all__ = ["fingerprint", "main"]

_RETRY_S = (0.05, 0.1, 0.2, 0.3)  # between attempts to open a camera; the last one for good
_GRACE_S = 1.0  # after which a driver that hangs is not waited for, if nobody else ends the process
_ROWS = 32  # of a picture that its fingerprint is taken from


def main() -> None:
    """Carry out the order that comes over stdin; nothing but messages leaves by stdout."""
    channel = _Channel(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever a vendor's library prints
    logging.basicConfig(level=logging.INFO, handlers=[_Log(channel)])
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    stopping = threading.Event()
    threading.Thread(target=_await_end, args=(stopping,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        _work(order, channel, stopping)
    os._exit(0)  # not all libraries survive the end of the interpreter


def _work(order: Order, channel: _Channel, stopping: threading.Event) -> None:
    module, _, name = order.driver.partition(":")
    try:
        kind: type[Driver] = getattr(importlib.import_module(module), name)
        if not order.target:
            channel.send(Found(kind.attached()))
            return
        driver = kind(order.target, msgspec.convert(order.options, kind.Options))
        driver.hint = order.hint
        if _opened(driver, channel, stopping):
            try:
                _capture(driver, _Giver(order.memory, channel), channel, stopping)
            finally:
                driver.close()
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - vendors' libraries raise what they like
        channel.send(_trouble(error, order, lost=True))


def _opened(driver: Driver, channel: _Channel, stopping: threading.Event) -> bool:
    """Open the camera, however long it takes; whether it is open now."""
    attempt = 0
    while not stopping.is_set():
        try:
            found = driver.open()
        except SourceError as error:
            channel.send(Trouble(error.asked, error.reason, error.cure, lost=False))
            driver.close()
            stopping.wait(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1
        else:
            channel.send(Opened(found))
            return True
    return False


def _capture(driver: Driver, giver: _Giver, channel: _Channel, stopping: threading.Event) -> None:
    while not stopping.is_set():
        driver.room = giver.room
        shot = driver.read()
        if isinstance(shot, Failure):
            channel.send(shot)
        elif shot is not None:
            giver.give(shot)


def _trouble(error: Exception, order: Order, *, lost: bool) -> Trouble:
    if isinstance(error, StainstreamError):
        return Trouble(error.asked, error.reason, error.cure, lost)
    asked = f"cannot read {redacted(order.target)}" if order.target else "cannot list cameras"
    return Trouble(asked, f"{type(error).__name__}: {error}", "", lost)


class _Giver:
    """Puts pictures into a ring that is made for the first one."""

    def __init__(self, memory: str, channel: _Channel) -> None:
        self._memory, self._channel = Shared(memory), channel
        self._ring: Ring | None = None
        self._lost = 0

    @property
    def room(self) -> NDArray[np.uint8] | None:
        """Where the next picture will be copied to, if that is known."""
        taken = self._ring.take() if self._ring else None
        return taken[1] if taken else None

    def give(self, shot: Shot) -> None:
        """Copy a picture into a free slot; drop and count it if there is none."""
        size = shot.image.nbytes
        if self._ring is None:
            self._ring = Ring(self._memory.map(size_of(size)), size)
        if size > self._ring.slot_bytes:
            raise SourceError("lost the camera's settings", "its pictures became larger; it is opened anew")
        self._lost += shot.lost
        if (taken := self._ring.take()) is None:
            self._lost += 1
            return
        slot, room = taken
        target = room[:size].view(shot.image.dtype).reshape(shot.image.shape)
        if not np.may_share_memory(target, shot.image):
            np.copyto(target, shot.image)
        self._ring.give(slot)
        self._channel.send(
            Picture(
                slot,
                self._ring.slot_bytes,
                shot.image.shape,
                shot.format.value,
                shot.captured_ns,
                self._lost,
                fingerprint(target),
                dict(shot.meta),
            )
        )
        self._lost = 0


def fingerprint(image: NDArray[np.generic]) -> int | None:
    """Checksum of some rows of a picture; None if they are all of one value, as with the lid closed.

    No two pictures of a sensor have the same: its noise is in every row.
    """
    rows = image[:: max(1, len(image) // _ROWS)]
    return None if (rows == rows.flat[0]).all() else zlib.crc32(rows.tobytes())


class _Channel:
    """Messages to the owner, from any thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self._pipe.write(encode(message))
            self._pipe.flush()


class _Log(logging.Handler):
    """Lines for the log, on their way to the owner's."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(Said(record.levelno, record.getMessage()))


def _await_end(stopping: threading.Event) -> None:
    """Wait until the owner closes our stdin, or is gone; then see to it that we end."""
    sys.stdin.buffer.read()
    stopping.set()
    threading.Event().wait(_GRACE_S)
    os._exit(1)
