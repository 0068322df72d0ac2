"""A lane of a GPU: a queue with room for what is under way in it; see `ring.Lane`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .gpu import Gpu, address_of
from .gpu_queue import Queue

__all__ = ["GpuLane", "Work"]

_SMALL = 2 << 20  # bytes of what is replayed as a graph: of more, three calls instead of one cost nothing
_GRAPHS = 8  # kept at a time

Bytes = NDArray[np.uint8]
Key = tuple[int, int, tuple[int, ...]]


class Work(Protocol):
    """What is done between copy in and copy out."""

    in_place: bool
    """Whether source and target may be one."""
    warm: int
    """How often a shape is to be run before it may be captured."""
    forgets: bool
    """Whether graphs of one shape are worth nothing after another shape was run."""

    def enqueue(self, queue: Queue, source: int, target: int, shape: tuple[int, ...]) -> None:
        """Put the work on uint8 of `shape` at these addresses of the GPU into `queue`."""


class GpuLane:
    """Copy in, work, copy out; a frame of the same size and places as before is one call, a replayed graph."""

    def __init__(self, gpu: Gpu, work: Work) -> None:
        self._gpu, self._work, self._queue = gpu, work, Queue(gpu)
        self._blocks: list[int] = []
        self._room = 0
        self._shape: tuple[int, ...] = ()
        self._graphs: dict[Key, Any] = {}
        """How often a key was run, then its graph and what holds the memory that it names."""

    def start(self, source: Bytes, target: Bytes) -> None:
        with self._gpu.current():
            self._reserve(source.nbytes)
            if self._work.forgets and source.shape != self._shape:
                self._forget_all()
            self._shape = source.shape
            if source.nbytes > _SMALL:
                self._enqueue(source, target)
            else:
                self._replay(source, target)

    def _replay(self, source: Bytes, target: Bytes) -> None:
        """Capturing takes longer than a frame, so what does not come again is not captured."""
        key = (address_of(source), address_of(target), source.shape)
        known = self._graphs.get(key, 0)
        if isinstance(known, tuple):
            self._queue.replay(known[0])
        elif known < self._work.warm:
            if not known and len(self._graphs) >= _GRAPHS:
                self._forget(next(iter(self._graphs)))
            self._graphs[key] = known + 1
            self._enqueue(source, target)
        else:
            graph = self._queue.capture(lambda: self._enqueue(source, target))
            # A graph holds addresses: their memory must stay pinned, though not lent out, so not the arrays themselves.
            self._graphs[key] = (graph, _root(source), _root(target))
            self._queue.replay(graph)

    def _enqueue(self, source: Bytes, target: Bytes) -> None:
        self._queue.copy_in(self._blocks[0], source)
        self._work.enqueue(self._queue, self._blocks[0], self._blocks[-1], source.shape)
        self._queue.copy_out(target, self._blocks[-1])

    def _reserve(self, size: int) -> None:
        if size > self._room:
            self._release()
            for _ in range(1 if self._work.in_place else 2):
                self._blocks.append(self._gpu.allocate(size))
            self._room = size

    def _release(self) -> None:
        self._forget_all()
        self._room = 0
        while self._blocks:
            self._gpu.free(self._blocks.pop())

    def _forget_all(self) -> None:
        for key in list(self._graphs):
            self._forget(key)

    def _forget(self, key: Key) -> None:
        known = self._graphs.pop(key)
        if isinstance(known, tuple):
            self._queue.forget(known[0])

    def wait(self) -> None:
        with self._gpu.current():
            self._queue.wait()

    def close(self) -> None:
        with self._gpu.quietly():
            self._release()
        self._queue.close()


def _root(array: Bytes) -> object:
    """What holds an array's memory, beneath all views of it."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base
