"""Image buffers that are used again."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from stainstream.frame import RGB8

__all__ = ["Pool"]


class Pool:
    """Lends RGB8 buffers; one is free again when nobody outside holds a reference to it or to a view of it.

    Nothing has to be given back, so nothing can be given back too early: ZeroMQ, which sends from a buffer long after
    `send` returned, holds a reference to it as everybody else does. One thread takes.

    Parameters
    ----------
    limit
        How many buffers to keep for later; more are lent when needed, but not kept.
    allocate
        Makes a buffer of a height and a width, all views of which refer to it; NumPy's own memory by default.
    """

    def __init__(self, limit: int = 16, allocate: Callable[[int, int], RGB8] | None = None) -> None:
        self.limit = limit
        self._allocate = allocate or _empty
        self._buffers: list[RGB8] = []

    def take(self, height: int, width: int) -> RGB8:
        """Lend a buffer of shape (height, width, 3) with undefined contents."""
        shape = (height, width, 3)
        if self._buffers and self._buffers[0].shape != shape:
            self._buffers.clear()
        for buffer in self._buffers:
            if sys.getrefcount(buffer) <= _UNUSED:
                return buffer
        buffer = self._allocate(height, width)
        if len(self._buffers) < self.limit:
            self._buffers.append(buffer)
        return buffer


def _empty(height: int, width: int) -> RGB8:
    return np.empty((height, width, 3), np.uint8)


def _count_unused() -> int:
    """How many references `Pool.take` sees of a buffer that nobody else holds; interpreters differ."""
    buffers = [np.empty(1, np.uint8)]
    for buffer in buffers:
        count = sys.getrefcount(buffer)
    return count


_UNUSED = _count_unused()
