"""The reading half of shared memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
import uuid
import weakref
from typing import Any

import zmq

from stainstream.errors import SourceError, WireError
from stainstream.feed.hub import HUB
from stainstream.feed.link import Body, Link
from stainstream.feed.message import ENVELOPE_BYTES, Envelope, pack

from .board import SEATS, Board, Entry, Seat, place
from .memory import opened

__all__ = ["RingReader"]

_SLICE_S = 0.1
_LEASES: dict[int, weakref.ref[Any]] = {}  # they must outlive whoever reads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LEASES.clear)  # a forked process must not release what this one still reads


class _Writer:
    """A writer as its reader sees it: a seat at its board, and its memory."""

    def __init__(self, pid: int, session: str, file: int, seat: int, limit: int) -> None:
        self.session, self.over = session, False
        self._pid, self._name, self._limit = pid, f"stainstream-{session}", limit
        mapped = opened(pid, file, self._name)
        if len(mapped) != Board.SIZE or seat >= SEATS:
            raise ValueError(f"it has {len(mapped)} bytes, and seat {seat}")
        self.seat = Seat(Board(mapped), seat)
        self._maps: dict[int, mmap.mmap] = {}

    def body(self, number: int) -> Body | None:
        """A frame that was told of, which is released when nobody refers to its pixels any more; None if there is none.

        Raises
        ------
        WireError
            If it is none.
        """
        entry = self.seat.board.get(number)
        end = entry.offset + entry.size
        if entry.number < number:
            return None  # the number was left out
        if entry.number != number or not entry.size:
            raise WireError("wrong slot", f"entry {entry.number} of {entry.size} bytes is not {number}")
        if entry.size > self._limit:
            raise WireError("large frame", f"it takes {entry.size} bytes, {self._limit} are allowed")
        mapped = self._mapped(entry)
        if end + sum(entry.lengths) > len(mapped) or sum(entry.lengths) > ENVELOPE_BYTES * 2:
            raise WireError("wrong slot", f"{entry.size} bytes at {entry.offset} are not within {len(mapped)}")
        parts: Body = []
        for length in entry.lengths[:2]:
            parts.append(memoryview(mapped[end : end + length]))
            end += length
        # All views of the pixels hold the lease; a memoryview or an array may be replaced by another one on the way.
        lease = (ctypes.c_ubyte * entry.size).from_buffer(mapped, entry.offset)
        seat = self.seat

        def release(ref: weakref.ref[Any]) -> None:
            del _LEASES[id(ref)]
            seat.release(number)

        ref = weakref.ref(lease, release)
        _LEASES[id(ref)] = ref
        return [*parts, memoryview(lease).cast("B").toreadonly()]

    def _mapped(self, entry: Entry) -> mmap.mmap:
        if entry.generation not in self._maps:
            try:
                self._maps = {entry.generation: opened(self._pid, entry.file, self._name)}
            except (OSError, ValueError) as error:
                raise WireError("wrong slot", f"the writer's memory is not there: {error}") from error
        return self._maps[entry.generation]


class RingReader:
    """Reads from the slots that it is told of; each is free again when nobody refers to its pixels any more."""

    forgets = False

    def __init__(self, name: str, *, lossless: bool, max_frame_bytes: int) -> None:
        self._lossless, self._limit = lossless, max_frame_bytes
        self._session = uuid.uuid4().hex
        self.link = Link(place(name), False, self, SourceError, {zmq.MAXMSGSIZE: ENVELOPE_BYTES})
        self.skipped = 0
        """Frames that were left out since we were too slow for them (live)."""
        self._writers: list[_Writer] = []
        """The one that is there, behind those before it of which something is left to read."""
        self._changed = threading.Event()
        self._claiming = threading.Lock()
        self._wanted, self._asked = False, False
        self._closing = False

    def take(self, timeout: float) -> Body | None:
        """The next frame (live: the newest), a message of a wire format; None after `timeout` seconds."""
        end = time.monotonic() + timeout if timeout else 0.0
        while not self._closing:
            writer = self._writers[0] if self._writers else None
            told = 0 if writer is None else writer.seat.told
            if writer is not None:
                body = self._claimed(writer, told)
                if body is not None:
                    return body
            self._ask()
            left = min(_SLICE_S, end - time.monotonic()) if timeout else 0.0
            if left <= 0.0:
                return None
            if writer is None:
                self._changed.wait(left)
                self._changed.clear()
            elif writer.over and len(self._writers) > 1:
                if writer.seat.told == told:
                    self._writers.remove(writer)
            else:
                writer.seat.wait(told, left)
        return None

    def _claimed(self, writer: _Writer, told: int) -> Body | None:
        seat = writer.seat
        while (number := seat.taken + 1) <= told:
            with self._claiming:
                if self._closing:
                    return None
                if not self._lossless:
                    number = self._newest(seat, number, told)
                try:
                    body = writer.body(number)
                except WireError as error:
                    self.link.reject(error.cause, error)
                    seat.release(number)
                    body = None
                finally:
                    seat.take(number)
            if body is not None:
                return body
        return None

    def _newest(self, seat: Seat, number: int, told: int) -> int:
        """The newest number; those before it are skipped, also where the writer tells of all."""
        seat.skip(number, told)
        self.skipped += told - number
        self._wanted = self._asked = False
        return told

    def close(self) -> None:
        """Take nothing more; slots that are still referred to are free when they are not any more."""
        with self._claiming:
            self._closing = True
            for writer in self._writers:
                writer.seat.close()
        self._changed.set()
        HUB.post(self._leave)  # if it has not yet heard where its seat is, it must be let go of by word
        self.link.close(_SLICE_S)

    def _leave(self) -> None:
        for route in self.link.peers:
            self.link.say(route, pack("bye"))

    def greeting(self) -> bytes:
        ready = self._wanted and not self._closing
        role = "subscriber" if self._lossless else "live"
        return pack("hello", role=role, name="reader", session=self._session, pid=os.getpid(), ready=ready)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:  # noqa: ARG002 - there is one writer
        if envelope["op"] == "board" and not body:
            self._sit_down(envelope)
            return True
        if envelope["op"] == "refused" and not body:
            self.link.reject("refused", f"the feed refuses us: {envelope['reason']}")
        elif envelope["op"] != "ping" or body:
            self.link.reject("unknown operation", f"{envelope['op']} is no writer's")
        return False

    def gone(self, route: bytes) -> None:  # noqa: ARG002
        for writer in self._writers:
            writer.over = True

    def flush(self) -> None:
        if self._wanted and not self._asked:
            self._asked = True  # before it is said: what is asked for once it was answered is another question
            if not any(self.link.say(route, pack("ready")) for route in self.link.peers):
                self._asked = False

    def _ask(self) -> None:
        """Say that we are ready for a frame of a live ring."""
        if not (self._lossless or self._wanted):
            self._wanted, self._asked = True, False
            HUB.wake()

    def _sit_down(self, told: Envelope) -> None:
        """Take a seat at a writer's board; on the hub's thread."""
        if self._writers and self._writers[-1].session == told["session"]:
            self._writers[-1].over = False
            return
        try:
            fresh = _Writer(told["pid"], told["session"], told["file"], told["seat"], self._limit)
        except (OSError, ValueError) as error:
            self.link.reject("wrong board", f"the writer's memory is not there: {error}")
            return
        with self._claiming:
            if self._closing:
                return
            fresh.seat.sit_down()
            before = self._writers[-1] if self._writers else None
            self._writers.append(fresh)
        self._asked = False
        self._changed.set()
        if before is not None:
            before.over = True
            before.seat.wake()
