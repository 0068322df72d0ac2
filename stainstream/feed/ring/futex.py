"""Waiting on a word of memory that processes share: Linux's futex."""

from __future__ import annotations

import ctypes
import platform
import sys

__all__ = ["Futex", "fence", "missing"]

_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221}
_CALL = _CALLS.get(platform.machine(), 0)
_WAIT, _WAKE, _ALL = 0, 1, 1 << 30
_IN_ORDER = platform.machine() == "x86_64"  # such processors let nobody see stores, or loads, in another order


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _call(library: type[ctypes.CDLL]) -> ctypes._NamedFuncPointer:
    call = library(None).syscall
    call.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
    call.restype = ctypes.c_long
    return call


if sys.platform == "linux":
    # The latter keeps Python's lock: what never waits is faster so.
    _slow, _quick = _call(ctypes.CDLL), _call(ctypes.PyDLL)


def missing() -> str:
    """Why there is none here; empty if there is."""
    there = sys.platform == "linux" and _CALL and sys.byteorder == "little"
    return "" if there else "it needs Linux on a 64-bit processor"


class Futex:
    """A word of 32 bits at an address of shared memory, which must stay mapped."""

    def __init__(self, address: int) -> None:
        self._address = address

    def wait(self, value: int, seconds: float) -> None:
        """Sleep until somebody wakes, unless the word is no longer `value`; perhaps for no reason, never for longer."""
        time = _Time(int(seconds), int(seconds % 1 * 1e9))
        _slow(_CALL, self._address, _WAIT, value & 0xFFFFFFFF, ctypes.addressof(time))

    def wake(self) -> None:
        """Wake all who sleep; a memory barrier, too."""
        _quick(_CALL, self._address, _WAKE, _ALL, None)


_NOBODY = ctypes.c_uint32()
_BARRIER = Futex(ctypes.addressof(_NOBODY))


def fence() -> None:
    """Let no other processor see what follows before what was written, or read, until now."""
    if not _IN_ORDER:
        _BARRIER.wake()
