"""The writing half of shared memory."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
import zmq
from numpy.typing import NDArray

from stainstream.alive import alive
from stainstream.errors import SinkError
from stainstream.feed.link import Body, Link
from stainstream.feed.message import ENVELOPE_BYTES, Envelope, pack

from .board import ENTRIES, PARTS, SEATS, Board, Entry, Seat, place
from .memory import Memory, Slot, shared

__all__ = ["RingWriter"]

T = TypeVar("T")
Part: TypeAlias = bytes | bytearray | memoryview

_SLICE_S = 0.1
_AHEAD = 4  # frames that a reader may have left to look at: more would push each other out of the cache
_HEADER = 4096  # bytes that each slot has for a header, at least
_PAUSE_S = 0.002
_LIVE = "this feed is live: ask with delivery=live, or give its sink delivery=lossless"


@dataclass(slots=True, eq=False)
class _Reader:
    session: str
    pid: int
    seat: Seat
    ready: bool = False


@dataclass(slots=True, eq=False)
class _Out:
    """A slot that is told of."""

    slot: Slot
    seats: list[Seat] = field(default_factory=list)
    """Of those who have not released it."""


class RingWriter:
    """Writes each frame into a slot that nobody reads, and tells all readers which one.

    Readers say on the board what they have released; a slot is used again when all who were told of it have. A reader
    that is disconnected stays one as long as its process lives, and keeps what it holds: all it needs is the board, and
    it will be connected again. Who is merely slow, too.

    Parameters
    ----------
    lossless
        Whether every reader gets every frame, and writing waits for a slot; else each gets the newest when it is ready.
    """

    forgets = False

    def __init__(self, name: str, *, slots: int, lossless: bool) -> None:
        self._lossless, self._slots = lossless, slots
        self._session = uuid.uuid4().hex
        self.link = Link(place(name), True, self, SinkError, {zmq.MAXMSGSIZE: ENVELOPE_BYTES})
        self.dropped = 0
        """Frames for which no slot was free (live)."""
        self._lock = threading.Lock()
        self._file, mapped = shared(f"stainstream-{self._session}", Board.SIZE)
        self._board = Board(mapped)
        self._seats = [Seat(self._board, number) for number in range(SEATS)]
        self._memory: Memory | None = None
        self._former: list[Memory] = []
        self._readers: dict[bytes, _Reader] = {}
        self._away: list[_Reader] = []
        self._out: dict[int, _Out] = {}
        self._lent: dict[int, Slot] = {}
        self._newest = 0
        self._count = 0

    def lend(self, size: int) -> NDArray[np.uint8] | None:
        """Memory of a slot, to write `size` bytes of pixels to and to give without a copy; None if none is free.

        If nobody refers to it any more and it was not given, the slot is free again.
        """
        with self._lock:
            slot = self._take(size + _HEADER)
            if slot is None:
                return None
            self._lent[id(slot.array)] = slot
        return slot.array[:size]

    def give(self, parts: Sequence[Part], stopping: threading.Event) -> bool:
        """Take a frame, a message of a wire format whose last part are its pixels; False if it could not be taken."""
        pixels, header = memoryview(parts[-1]), b"".join(parts[:-1])
        room = len(pixels) + len(header)
        slot = self._lent_as(pixels, room)
        if slot is not None and self._lossless and not self._awaited(self._read, stopping):
            return False
        if slot is None:
            slot = self._awaited(partial(self._slot, room), stopping)
            if slot is None:
                return not self._lossless
            # NumPy lets other threads run meanwhile; a memoryview does not.
            np.copyto(slot.array[: len(pixels)], np.frombuffer(pixels, np.uint8))
        slot.array.data[len(pixels) : room] = header
        with self._lock:
            self._publish(slot, len(pixels), [len(part) for part in parts[:-1]])
        return True

    def close(self, linger_s: float = 0.0) -> None:
        """Let go of the name, once readers have looked at what they were told of; they keep what they have in hand."""
        end = time.monotonic() + linger_s
        while self._lossless and self._unread() and time.monotonic() < end:
            time.sleep(_PAUSE_S)
        self.link.close(linger_s)
        with self._lock:
            for memory in [*self._former, *([self._memory] if self._memory else [])]:
                memory.close()
            self._memory, self._former = None, []
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def greeting(self) -> bytes:
        return pack("ping", name="ring", session=self._session)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        op = envelope["op"]
        if body or op not in ("hello", "ready", "bye") or (op == "hello" and type(envelope.get("pid")) is not int):
            self.link.reject("unknown operation", f"{op} is no reader's")
            return True
        if op == "hello" and envelope["role"] != "live" and not self._lossless:
            self.link.say(route, pack("refused", reason=_LIVE))
            return True
        with self._lock:
            fresh = op == "hello" and route not in self._readers
            if fresh and not self._welcome(route, envelope):
                self.link.reject("too many readers")
                return True
            reader = self._readers.get(route)
            if reader is not None:
                if fresh or (op == "hello" and not reader.seat.open and not reader.seat.closed):
                    where = {"pid": os.getpid(), "file": self._file, "seat": reader.seat.number}
                    self.link.say(route, pack("board", session=self._session, **where))  # until it sits there
                if op == "bye":
                    reader.seat.close()
                reader.ready = reader.ready or op == "ready" or envelope.get("ready") is True
                if self._newest:
                    self._tell([reader], self._newest)
        if op == "hello":
            self._board.ring()
        return True

    @property
    def _all(self) -> list[_Reader]:
        """Readers that are connected, and those that are not at the moment."""
        return [*self._readers.values(), *self._away]

    def gone(self, route: bytes) -> None:
        with self._lock:
            reader = self._readers.pop(route, None)
            if reader is not None:
                self._away.append(reader)

    def flush(self) -> None:
        if not self._away:
            return
        with self._lock:
            for reader in [each for each in self._away if not alive(each.pid)]:
                reader.seat.close()  # in its place
                for out in self._out.values():
                    out.seats = [seat for seat in out.seats if seat is not reader.seat]
            self._sweep()
            held = {seat.number for out in self._out.values() for seat in out.seats}
            gone = [each for each in self._away if each.seat.closed and each.seat.number not in held]
            self._seats += [each.seat for each in gone]
            self._away = [each for each in self._away if each not in gone]

    def _welcome(self, route: bytes, hello: Envelope) -> bool:
        """Give a reader a seat, or back the one that it had; under the lock. Whether there was one."""
        for before, reader in [*self._readers.items(), *((b"", each) for each in self._away)]:
            if reader.session == hello["session"]:
                self._readers.pop(before, None)
                self._away = [each for each in self._away if each is not reader]
                break
        else:
            if not self._seats:
                return False
            reader = _Reader(hello["session"], hello["pid"], self._seats.pop())
            # The newest is still to be had; of a lossless ring only what comes from now on.
            reader.seat.clear(max(0, self._count - (not self._lossless)))
        self._readers[route] = reader
        return True

    def _read(self) -> bool:
        """Whether somebody reads, and nobody has too much left to look at; under the lock."""
        seats = [reader.seat for reader in self._all if reader.seat.open]
        return bool(seats) and all(seat.told - seat.taken < _AHEAD for seat in seats)

    def _unread(self) -> bool:
        with self._lock:
            seats = [reader.seat for reader in self._all]
            return any(seat.taken < seat.told and seat.open for seat in seats)

    def _lent_as(self, pixels: memoryview, room: int) -> Slot | None:
        """The slot that pixels were written to, if they can be read there."""
        image: Any = pixels.obj
        base = getattr(image, "base", None)
        slot = self._lent.get(id(base))
        if slot is None or slot.array is not base or image.ctypes.data != base.ctypes.data or len(base) < room:
            return None
        with self._lock:
            return self._lent.pop(id(base))

    def _awaited(self, what: Callable[[], T], stopping: threading.Event) -> T | None:
        """What is true at last, asked for under the lock; None if it cannot be waited for."""
        while True:
            rung = self._board.rung
            with self._lock:
                found = what()
            if found:
                return found
            if not self._lossless or stopping.is_set():
                self.dropped += not self._lossless
                return None
            self._board.wait(rung, _SLICE_S)

    def _slot(self, room: int) -> Slot | None:
        """A slot for the next frame; under the lock."""
        return self._take(room) if not self._lossless or self._read() else None

    def _take(self, room: int) -> Slot | None:
        """A slot that nobody uses; under the lock."""
        self._sweep()
        if self._memory is None or self._memory.size < room:
            if self._memory is not None:
                self._former.append(self._memory)
            generation = 0 if self._memory is None else self._memory.generation + 1
            self._memory = Memory(f"stainstream-{self._session}", generation, self._slots, room + _HEADER)
            self._tidy()
        if len(self._out) + len(self._lent) >= ENTRIES // 2:
            return None  # of many former sizes
        return self._memory.take()

    def _publish(self, slot: Slot, size: int, lengths: Sequence[int]) -> None:
        """Tell of a frame; under the lock."""
        memory = slot.memory
        assert memory is not None
        assert len(lengths) <= PARTS
        self._count += 1
        while self._board.last(self._count) in self._out:
            self._count += 1  # somebody keeps the frame that is described there: nobody else shall wait for him
        self._board.put(Entry(self._count, memory.generation, memory.file, slot.offset, size, lengths))
        self._out[self._count] = _Out(slot)
        if not self._lossless:
            self._newest = self._count
        self._tell(self._all, self._count)

    def _tell(self, readers: Iterable[_Reader], number: int) -> None:
        """Tell readers of a frame, those of a live ring if they are ready and have not seen it; under the lock."""
        for reader in readers:
            seat = reader.seat
            if not seat.open or seat.told >= number or not (self._lossless or reader.ready):
                continue
            reader.ready = False
            self._out[number].seats.append(seat)
            seat.tell(number)

    def _sweep(self) -> None:
        """Take back what was released; under the lock."""
        for number, out in list(self._out.items()):
            if out.seats:
                out.seats = [
                    seat for seat in out.seats if not (seat.released(number) or (seat.closed and number > seat.taken))
                ]
            if not out.seats and number != self._newest:
                del self._out[number]
                self._give_back(out.slot)
        for key, slot in list(self._lent.items()):
            if not slot.lent:
                del self._lent[key]
                self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        assert slot.memory is not None
        slot.memory.free.append(slot)
        if slot.memory is not self._memory:
            self._tidy()

    def _tidy(self) -> None:
        """Let go of memory of former sizes that is not used any more."""
        for memory in [each for each in self._former if each.idle]:
            self._former.remove(memory)
            memory.close()
