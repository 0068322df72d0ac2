"""Frames handed from one process to another through shared memory."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["SLOTS", "Bytes", "Ring", "Taker", "size_of"]

SLOTS = 12
_OUT = 7  # slots that may be out before the taker's customers are given copies
_ALIGNMENT = 4096
_FREE, _TAKEN = 0, 1

Bytes: TypeAlias = NDArray[np.uint8]


def size_of(slot_bytes: int) -> int:
    """Bytes that the memory of a ring must have."""
    return _ALIGNMENT + SLOTS * _aligned(slot_bytes)


class Ring:
    """Slots for frames; the giver's side.

    A slot belongs to one side at a time. The giver takes one that is free, fills it, and says so in a message; from
    then on the taker owns it, until it marks the slot free. So no frame is ever torn, and none is overwritten while
    somebody looks at it; when all slots are out, the giver has to drop the frame. Only messages make a frame known:
    one that a killed process left half written is never seen.

    Parameters
    ----------
    memory
        `size_of` bytes, zero at first.
    slot_bytes
        Bytes of the largest frame.
    """

    def __init__(self, memory: mmap.mmap, slot_bytes: int) -> None:
        self.slot_bytes = slot_bytes
        self._marks = np.frombuffer(memory, np.uint8, SLOTS)
        self._slots = [
            np.frombuffer(memory, np.uint8, slot_bytes, _ALIGNMENT + slot * _aligned(slot_bytes))
            for slot in range(SLOTS)
        ]

    def take(self) -> tuple[int, Bytes] | None:
        """A free slot and its memory, to be written to; None if there is none.

        It is always the first one: the fewer are used, the more stay in the processor's cache.
        """
        free = np.flatnonzero(self._marks == _FREE)
        return (int(free[0]), self._slots[free[0]]) if len(free) else None

    def give(self, slot: int) -> None:
        """Mark a slot that was filled; to be followed by the message."""
        self._marks[slot] = _TAKEN


class Taker:
    """The taker's side of a `Ring`; see there."""

    def __init__(self, memory: mmap.mmap, slot_bytes: int) -> None:
        self._memory, self._slot_bytes = memory, slot_bytes
        self._marks = np.frombuffer(memory, np.uint8, SLOTS)

    def lend(self, slot: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The frame in a slot, writeable, without a copy; the slot is free again when nobody refers to it any more.

        Who keeps many frames gets copies instead, so that the giver never runs out of slots.
        """
        size = int(np.prod(shape)) * dtype.itemsize
        lease = (ctypes.c_ubyte * size).from_buffer(self._memory, _ALIGNMENT + slot * _aligned(self._slot_bytes))
        image: NDArray[Any] = np.frombuffer(memoryview(lease), dtype).reshape(shape)
        if np.count_nonzero(self._marks) > _OUT:
            image = image.copy()
            self.free(slot)
        else:
            # All views of the image hold the lease, while NumPy lets a view outlive the array that it was made from.
            weakref.finalize(lease, _free, self._marks, slot).atexit = False
        return image

    def free(self, slot: int) -> None:
        """Give a slot back unread."""
        _free(self._marks, slot)


def _free(marks: Bytes, slot: int) -> None:
    marks[slot] = _FREE


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
