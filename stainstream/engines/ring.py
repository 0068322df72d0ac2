"""A ring of slots: frames of the host on their way through a device, several at a time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stainstream.errors import EngineError

__all__ = ["Lane", "Memory", "Ring"]

Bytes = NDArray[np.uint8]


class Lane(Protocol):
    """A device's queue of work, with memory of its own: in order by itself, in no order with other lanes."""

    def start(self, source: Bytes, target: Bytes) -> None:
        """Begin to normalize `source` into `target`, both pinned, C-contiguous and of one shape; return at once."""

    def wait(self) -> None:
        """Return when all that was begun has arrived."""

    def close(self) -> None:
        """Release what the lane holds; called when nothing is under way."""


class Memory(Protocol):
    """The host memory that a device reads and writes by itself."""

    def pinned(self, size: int, /) -> Bytes:
        """So many bytes of it, free again when nobody refers to them."""

    def is_pinned(self, array: Bytes) -> bool:
        """Whether a C-contiguous array lies in it."""


class Ring:
    """Hands frames to lanes in turn; any thread may call.

    What is pinned already is read and written where it lies; anything else is copied into and out of its slot, once.
    """

    def __init__(self, lanes: Sequence[Lane], memory: Memory) -> None:
        self._slots = [_Slot(lane, memory) for lane in lanes]
        self._turn = itertools.count()

    def __len__(self) -> int:
        return len(self._slots)

    def start(self, source: Bytes, target: Bytes) -> Callable[[], None]:
        """Begin to normalize `source` into `target`, C-contiguous and of one shape.

        Neither may be touched before the result was called: it returns when `target` is complete. Until then `source`
        is as it was, even if both are the same, so that a frame that failed can be normalized elsewhere.

        Raises
        ------
        EngineError
            If the device fails; also from the result.
        """
        return self._slots[next(self._turn) % len(self._slots)].start(source, target)

    def run(self, parts: Iterable[tuple[Bytes, Bytes]]) -> None:
        """Normalize all of `parts`, pairs of source and target as in `start`.

        When this returns or raises, none of them is touched any more.
        """
        begun: list[Callable[[], None]] = []
        failed: EngineError | None = None
        try:
            for source, target in parts:
                begun.append(self.start(source, target))
        except EngineError as error:
            failed = error
        for finish in begun:
            try:
                finish()
            except EngineError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Let everything under way arrive, and release the lanes."""
        for slot in self._slots:
            slot.close()


class _Job:
    """A frame in a slot."""

    def __init__(self, source: Bytes, target: Bytes, landing: Bytes) -> None:
        self.source, self.target, self.landing = source, target, landing  # kept alive while the device uses them
        self.done = False
        self.error: EngineError | None = None


class _Slot:
    def __init__(self, lane: Lane, memory: Memory) -> None:
        self._lane, self._memory = lane, memory
        self._lock = threading.Lock()
        self._job: _Job | None = None
        self._closed = False
        self._staging = self._landing = np.empty(0, np.uint8)

    def start(self, source: Bytes, target: Bytes) -> Callable[[], None]:
        with self._lock:
            self._finish()
            if self._closed:
                raise EngineError("cannot finish a frame", "the engine was closed by another thread")
            job = _Job(self._staged(source), target, self._landed(source, target))
            self._lane.start(job.source, job.landing)
            self._job = job
        return lambda: self._wait(job)

    def _staged(self, source: Bytes) -> Bytes:
        if self._memory.is_pinned(source):
            return source
        self._staging = self._at_least(self._staging, source.nbytes)
        staged = self._staging[: source.nbytes].reshape(source.shape)
        np.copyto(staged, source)
        return staged

    def _landed(self, source: Bytes, target: Bytes) -> Bytes:
        if self._memory.is_pinned(target) and not np.may_share_memory(source, target):
            return target
        self._landing = self._at_least(self._landing, target.nbytes)
        return self._landing[: target.nbytes].reshape(target.shape)

    def _at_least(self, buffer: Bytes, size: int) -> Bytes:
        return buffer if buffer.nbytes >= size else self._memory.pinned(size)

    def _wait(self, job: _Job) -> None:
        with self._lock:
            if not job.done:
                self._finish()
        if job.error is not None:
            raise job.error

    def _finish(self) -> None:
        """Let the frame in the slot arrive; its error is for whoever waits for it."""
        job, self._job = self._job, None
        if job is None:
            return
        job.done = True
        try:
            self._lane.wait()
        except EngineError as error:
            job.error = error
            return
        if job.landing is not job.target:
            np.copyto(job.target, job.landing)

    def close(self) -> None:
        with self._lock:
            self._finish()
            if not self._closed:
                self._closed = True
                self._lane.close()
