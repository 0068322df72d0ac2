"""Frames between processes of one computer: pixels in shared memory, all else over ZeroMQ."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

import numpy as np
import zmq

from stainstream.errors import SinkError, SourceError, UsageError, WireError

from .hub import HUB
from .link import Body, Link
from .message import ENVELOPE_BYTES, Envelope, pack

__all__ = ["RingReader", "RingWriter", "place"]

Part: TypeAlias = bytes | bytearray | memoryview

_ALIGNMENT = 4096
_SLICE_S = 0.1
_BATCH = 3  # slots that are given back at once while more frames are waiting


def place(name: str) -> str:
    """Where the ring of a name is told of: a socket in a folder of this user's own.

    Raises
    ------
    UsageError
        If this system has no such memory, or the folder is somebody else's.
    """
    if sys.platform != "linux":
        raise UsageError(f"cannot use shm://{name}", "it needs Linux", "use zmq+ipc:// or zmq+tcp://")
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"stainstream-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise UsageError(f"cannot use shm://{name}", f"{folder} is not this user's alone", "delete it")
    return f"ipc://{folder}/{name}"


@dataclass(slots=True, eq=False)
class _Reader:
    session: str
    pid: int
    ready: bool = False
    seen: int = 0
    held: set[tuple[int, int]] = field(default_factory=set)


class _Memory:
    """Slots of one size, in memory without a name: it is gone with the last process that maps it, whatever ended it."""

    def __init__(self, generation: int, slots: int, size: int) -> None:
        self.generation, self.size = generation, size
        self._step = -(-size // _ALIGNMENT) * _ALIGNMENT
        self.file = os.memfd_create("stainstream")
        os.ftruncate(self.file, slots * self._step)
        self._map = mmap.mmap(self.file, slots * self._step)
        self.view = memoryview(self._map)
        self.free = set(range(slots))

    def offset(self, slot: int) -> int:
        return slot * self._step

    def close(self) -> None:
        self.view.release()
        self._map.close()
        os.close(self.file)


class RingWriter:
    """Writes each frame into a slot that nobody reads, and tells all readers which one.

    Whose a slot is, is known here alone and changes by messages, so it cannot be torn or used again too early. A reader
    that is disconnected keeps what it holds as long as its process lives: it may come back. Who is merely slow, too.

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
        self._changed = threading.Condition()
        self._memory: _Memory | None = None
        self._former: list[_Memory] = []
        self._readers: dict[bytes, _Reader] = {}
        self._away: list[_Reader] = []
        self._told: deque[tuple[int, _Memory, int, int, Sequence[Part]]] = deque()
        self._newest: tuple[int, _Memory, int, int, Sequence[Part]] | None = None
        self._holders: dict[tuple[int, int], int] = {}
        self._count = 0

    def give(self, parts: Sequence[Part], stopping: threading.Event) -> bool:
        """Take a frame, a message of a wire format whose last part are its pixels; False if it could not be taken."""
        pixels = memoryview(parts[-1])
        with self._changed:
            memory = self._fitting(len(pixels))
            while not memory.free or (self._lossless and not self._readers):
                if not self._lossless:
                    self.dropped += 1
                    return True
                if stopping.is_set():
                    return False
                self._changed.wait(_SLICE_S)
            slot = min(memory.free)  # the fewer are used, the more stay in the processor's cache
            memory.free.discard(slot)
        at = memory.offset(slot)
        # NumPy lets other threads run meanwhile; a memoryview does not.
        np.copyto(np.frombuffer(memory.view, np.uint8, len(pixels), at), np.frombuffer(pixels, np.uint8))
        self._count += 1
        self._told.append((self._count, memory, slot, len(pixels), parts[:-1]))
        HUB.wake()
        return True

    def close(self, linger_s: float = 0.0) -> None:
        """Let go of the name; readers keep what they have in hand."""
        if self._lossless:
            with self._changed:  # what was told is to be read: the memory stays as long as a reader maps it
                self._changed.wait_for(lambda: not self._told, linger_s)
        self.link.close(linger_s)
        for memory in [*self._former, *([self._memory] if self._memory else [])]:
            memory.close()
        self._memory, self._former = None, []

    def greeting(self) -> bytes:
        return pack("ping", name="ring", session=self._session)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:
        op = envelope["op"]
        if body or op not in ("hello", "ready", "free") or (op == "hello" and type(envelope.get("pid")) is not int):
            self.link.reject("unknown operation", f"{op} is no reader's")
            return True
        with self._changed:
            if op == "hello" and route not in self._readers:
                self._readers[route] = self._welcome(envelope["session"], envelope["pid"])
            reader = self._readers.get(route)
            if reader is not None:
                reader.ready = reader.ready or op == "ready" or envelope.get("ready") is True
                if op == "free" and envelope["session"] == self._session:
                    self._release(reader, [(generation, slot) for generation, slot in envelope["slots"]])
            self._changed.notify_all()
        return True

    def _welcome(self, session: str, pid: int) -> _Reader:
        """A reader, perhaps one that was away; under the lock."""
        for reader in self._away:
            if reader.session == session:
                self._away.remove(reader)
                return reader
        return _Reader(session, pid, seen=max(0, self._count - 1))

    def _release(self, reader: _Reader, slots: Sequence[tuple[int, int]]) -> None:
        for each in slots:
            if each in reader.held:
                reader.held.discard(each)
                self._let_go(*each)

    def gone(self, route: bytes) -> None:
        with self._changed:
            reader = self._readers.pop(route, None)
            if reader is not None:
                self._away.append(reader)

    def flush(self) -> None:
        for reader in [each for each in self._away if not _lives(each.pid)]:
            with self._changed:
                self._away.remove(reader)
                self._release(reader, list(reader.held))
                self._changed.notify_all()
        while self._told:
            told = self._told.popleft()
            _, memory, slot, _, _ = told
            with self._changed:
                self._holders[memory.generation, slot] = 1  # our own, until all were told
                former, self._newest = self._newest, told
            if self._lossless:
                for route in list(self._readers):
                    self._tell(route, told)
                former, self._newest = told, None
            with self._changed:
                if former is not None:
                    self._let_go(former[1].generation, former[2])
                self._changed.notify_all()
        if self._newest is not None:
            for route, reader in list(self._readers.items()):
                if reader.ready and reader.seen < self._newest[0]:
                    self._tell(route, self._newest)

    def _tell(self, route: bytes, told: tuple[int, _Memory, int, int, Sequence[Part]]) -> None:
        number, memory, slot, size, header = told
        reader = self._readers[route]
        with self._changed:
            skipped, reader.seen, reader.ready = number - reader.seen - 1, number, False
            reader.held.add((memory.generation, slot))
            self._holders[memory.generation, slot] += 1
        where = {"pid": os.getpid(), "file": memory.file, "generation": memory.generation, "session": self._session}
        envelope = pack("slot", **where, slot=slot, offset=memory.offset(slot), size=size, skipped=max(0, skipped))
        if not self.link.say(route, envelope, *header):
            self.link.drop(route)

    def _let_go(self, generation: int, slot: int) -> None:
        """One less holds a slot; under the lock."""
        self._holders[generation, slot] -= 1
        if not self._holders[generation, slot]:
            del self._holders[generation, slot]
            for memory in [*self._former, *([self._memory] if self._memory else [])]:
                if memory.generation == generation:
                    memory.free.add(slot)
            for memory in [each for each in self._former if len(each.free) == self._slots]:
                self._former.remove(memory)
                memory.close()

    def _fitting(self, size: int) -> _Memory:
        """Memory whose slots are large enough; under the lock."""
        if self._memory is None or self._memory.size < size:
            generation = 0 if self._memory is None else self._memory.generation + 1
            if self._memory is not None and len(self._memory.free) == self._slots:
                self._memory.close()
            elif self._memory is not None:
                self._former.append(self._memory)
            self._memory = _Memory(generation, self._slots, size)
        return self._memory


class RingReader:
    """Reads from the slots that it is told of; each is free again when nobody refers to its pixels any more."""

    forgets = False

    def __init__(self, name: str, *, lossless: bool, max_frame_bytes: int) -> None:
        self._lossless, self._limit = lossless, max_frame_bytes
        self._session = uuid.uuid4().hex
        self.link = Link(place(name), False, self, SourceError, {zmq.MAXMSGSIZE: ENVELOPE_BYTES})
        self.skipped = 0
        """Frames that were left out since we were too slow for them (live)."""
        self._maps: dict[tuple[int, int, int], mmap.mmap] = {}
        self._wanted, self._asked = threading.Event(), False
        self._come: SimpleQueue[Body] = SimpleQueue()
        self._freed: deque[tuple[str, int, int]] = deque()
        self._held: set[tuple[str, int, int]] = set()
        self._closing = False

    def take(self, timeout: float) -> Body | None:
        """The next frame (live: the newest), a message of a wire format; None after `timeout` seconds."""
        if not self._lossless and not self._wanted.is_set() and self._come.empty():
            self._wanted.set()
            self._asked = False
            HUB.wake()
        try:
            return self._come.get(timeout=timeout)
        except Empty:
            return None

    def close(self) -> None:
        """Take nothing more; the writer is let go of when the last slot is no longer referred to."""
        self._closing = True
        while not self._come.empty():
            self._come.get_nowait()
        if not self._held:
            HUB.post(self.flush)
            self.link.close(_SLICE_S)
        HUB.wake()

    def greeting(self) -> bytes:
        ready = self._wanted.is_set() and not self._closing
        return pack("hello", role="live", name="reader", session=self._session, pid=os.getpid(), ready=ready)

    def hear(self, route: bytes, envelope: Envelope, body: Body) -> bool:  # noqa: ARG002 - there is one writer
        if envelope["op"] == "slot" and body:
            self._wanted.clear()
            self.skipped += envelope["skipped"]
            try:
                if self._closing:
                    raise WireError("closing", "nobody takes it any more")
                self._come.put([*body, self._pixels(envelope)])
            except WireError as error:
                self.link.reject(error.cause, error)
                self._free(envelope["session"], envelope["generation"], envelope["slot"])
        elif envelope["op"] != "ping":
            self.link.reject("unknown operation", f"{envelope['op']} is no writer's")
        return bool(body)

    def gone(self, route: bytes) -> None:  # noqa: ARG002
        self._maps.clear()  # a new writer has memory of its own; what is in use stays

    def flush(self) -> None:
        for route in self.link.peers:
            freed: dict[str, list[tuple[int, int]]] = {}
            while self._freed:
                session, *slot = self._freed.popleft()
                freed.setdefault(session, []).append((slot[0], slot[1]))
            for session, slots in freed.items():
                self.link.say(route, pack("free", session=session, slots=slots))
        if self._closing and not self._held and not self._freed and self.link.is_open:
            self.link.close(_SLICE_S)
            return
        for route in self.link.peers:
            if self._wanted.is_set() and not self._asked:
                self.link.say(route, pack("ready"))
                self._asked = True

    def _pixels(self, told: Envelope) -> memoryview:
        size, offset = told["size"], told["offset"]
        if size > self._limit:
            raise WireError("large frame", f"it takes {size} bytes, {self._limit} are allowed")
        mapped = self._mapped(told["pid"], told["file"], told["generation"])
        if not size or offset + size > len(mapped):
            raise WireError("wrong slot", f"{size} bytes at {offset} are not within {len(mapped)}")
        # All views of the pixels hold the lease; a memoryview or an array may be replaced by another one on the way.
        lease = (ctypes.c_ubyte * size).from_buffer(mapped, offset)
        held = told["session"], told["generation"], told["slot"]
        self._held.add(held)
        weakref.finalize(lease, self._free, *held).atexit = False
        return memoryview(lease).cast("B").toreadonly()

    def _mapped(self, pid: int, file: int, generation: int) -> mmap.mmap:
        key = pid, file, generation
        if key not in self._maps:
            try:
                opened = os.open(f"/proc/{pid}/fd/{file}", os.O_RDWR)
                try:
                    self._maps[key] = mmap.mmap(opened, 0)
                finally:
                    os.close(opened)
            except (OSError, ValueError) as error:
                raise WireError("wrong slot", f"the writer's memory is not there: {error}") from error
        return self._maps[key]

    def _free(self, session: str, generation: int, slot: int) -> None:
        self._freed.append((session, generation, slot))
        self._held.discard((session, generation, slot))
        if self._come.empty() or len(self._freed) >= _BATCH:
            HUB.wake()  # else there will be more to say soon


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # One that ended but was not waited for yet reads nothing any more.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
