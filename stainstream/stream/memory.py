"""How the C library keeps memory."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST_KEPT = 32 << 20  # glibc refuses more on 64-bit systems
_KEPT = 256 << 20


def keep_large_blocks() -> bool:
    """Let the process keep freed frames for later ones, instead of giving them back to the system.

    glibc maps every block of more than 128 KiB afresh, as ZeroMQ's incoming frames are, and the system then has to
    clear each page as it is touched. To be called once, before the first frame; for the whole process.

    Returns
    -------
    Whether it was done; other C libraries than glibc need no such advice, or take none.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
