"""How the C library keeps memory."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_ADVICE = (
    (_M_MMAP_THRESHOLD, 32 << 20),  # the most that glibc accepts; a frame of 4K has 24 MiB
    (_M_TRIM_THRESHOLD, 256 << 20),
    (_M_ARENA_MAX, 1),  # other arenas consist of pieces of 64 MiB, each given back as soon as it is empty
)


def keep_large_blocks() -> bool:
    """Let the process keep the memory of freed frames for later ones, instead of giving it back to the system.

    glibc maps a block as large as a frame afresh each time, and the system has to clear all its pages as they are
    touched. To be called once, early; it is for the whole process.

    Returns
    -------
    Whether it was done: only glibc takes this advice.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(*advice) == 1 for advice in _ADVICE])  # noqa: C419 - give each piece of it
