"""The memory that frames lie in."""

from __future__ import annotations

import mmap
import os
import sys

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memory", "Slot", "opened", "shared"]

_ALIGNMENT = 4096


def shared(name: str, size: int) -> tuple[int, mmap.mmap]:
    """Memory without a path: it is gone with the last process that maps it, whatever ended it."""
    assert sys.platform == "linux"
    file = os.memfd_create(name)
    os.ftruncate(file, size)
    return file, mmap.mmap(file, size)


def opened(pid: int, file: int, name: str) -> mmap.mmap:
    """Another process's such memory, by its file's number there.

    Raises
    ------
    OSError, ValueError
        If it is not there.
    """
    path = f"/proc/{pid}/fd/{file}"
    found = os.open(path, os.O_RDWR)
    try:
        # A process that closed it may have given the number to another file.
        if not os.readlink(f"/proc/self/fd/{found}").startswith(f"/memfd:{name} "):
            raise ValueError(f"{path} is another file")
        return mmap.mmap(found, 0)
    finally:
        os.close(found)


class Slot:
    """Room for a frame; all arrays that are lent of it refer to `array`."""

    __slots__ = ("array", "memory", "offset")

    def __init__(self, memory: Memory | None, array: NDArray[np.uint8], offset: int) -> None:
        self.memory, self.array, self.offset = memory, array, offset

    @property
    def lent(self) -> bool:
        """Whether somebody in this process refers to it."""
        return sys.getrefcount(self.array) > _ALONE


class Memory:
    """Slots of one size.

    Parameters
    ----------
    name
        Its file's, which readers know it by.
    """

    def __init__(self, name: str, generation: int, slots: int, size: int) -> None:
        self.generation = generation
        self.size = -(-size // _ALIGNMENT) * _ALIGNMENT
        self.file, mapped = shared(name, slots * self.size)
        self.slots = [
            Slot(self, np.frombuffer(mapped, np.uint8, self.size, at * self.size), at * self.size)
            for at in range(slots)
        ]
        self.free = list(self.slots)

    def take(self) -> Slot | None:
        """A slot that nobody uses: the fewer are used, the more stay in the processor's cache."""
        for at in range(len(self.free) - 1, -1, -1):
            if not self.free[at].lent:
                return self.free.pop(at)
        return None

    @property
    def idle(self) -> bool:
        """Whether no reader has any of it."""
        return len(self.free) == len(self.slots)

    def close(self) -> None:
        """Let go of it; what is mapped elsewhere, or still lent here, stays there."""
        self.free, self.slots = [], []
        os.close(self.file)


_ALONE = sys.maxsize
_probe = Slot(None, np.empty(1, np.uint8), 0)


def _references(slot: Slot) -> int:
    """As `Slot.lent` sees them of one that is not lent; interpreters differ."""
    return sys.getrefcount(slot.array)


_ALONE = _references(_probe)
