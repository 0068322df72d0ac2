"""What a writer and its readers tell each other of slots, in shared memory.

Each word has one writer: nothing needs a lock across processes, and who is killed leaves nothing half done that
matters. The writer describes a frame in an entry, then tells its number in the seat of each reader that it is for. A
reader marks the number when nobody there refers to the pixels any more.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stainstream.errors import UsageError

from .futex import Futex, fence, missing

__all__ = ["ENTRIES", "PARTS", "SEATS", "Board", "Entry", "Seat", "place"]

SEATS = 64
"""Readers that there may be."""
ENTRIES = 1024
"""Lines that frames are described in. A number whose line still describes a frame that somebody reads is left out."""
PARTS = 4
"""Parts that a frame's header may have."""

_ENTRY = struct.Struct(f"=QIIQQ{PARTS}I")
_SITS, _LEFT = 1, 2
_LINE = 8  # words of a cache line
_SEATS_AT = _LINE  # behind the bell
_ENTRIES_AT = _SEATS_AT + SEATS * 2 * _LINE  # a line that the writer writes, and one that the reader does
_MARKS_AT = _ENTRIES_AT + ENTRIES * _LINE
_SIZE = 8 * (_MARKS_AT + SEATS * ENTRIES)


def place(name: str) -> str:
    """Where the ring of a name is told of: a socket in a folder of this user's own.

    Raises
    ------
    UsageError
        If this system has no such memory, or the folder is somebody else's.
    """
    if sys.platform != "linux" or missing():
        raise UsageError(f"cannot use shm://{name}", missing(), "use zmq+ipc:// or zmq+tcp://")
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"stainstream-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise UsageError(f"cannot use shm://{name}", f"{folder} is not this user's alone", "delete it")
    return f"ipc://{folder}/{name}"


class Entry(NamedTuple):
    """A frame: where it is, and how long the parts of its header are, which follow its pixels."""

    number: int
    generation: int
    file: int
    offset: int
    size: int
    lengths: Sequence[int]


class Board:
    """Entries, seats and a bell.

    Parameters
    ----------
    mapped
        `Board.SIZE` bytes, zero at first.
    """

    SIZE = _SIZE

    def __init__(self, mapped: mmap.mmap) -> None:
        self.bytes = memoryview(mapped)
        self.words = self.bytes.cast("Q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        self._bell = Futex(self.address)

    @property
    def rung(self) -> int:
        """Another number each time that somebody rings."""
        return self.words[0]

    def ring(self) -> None:
        """Wake the writer, should it wait for a slot, or for a reader."""
        self.words[0] = (self.words[0] + 1) & 0xFFFFFFFF
        self._bell.wake()

    def wait(self, rung: int, seconds: float) -> None:
        """Wait until somebody rings, unless somebody has since `rung`."""
        self._bell.wait(rung, seconds)

    def last(self, number: int) -> int:
        """Which number is described in its line: itself, unless it was left out or is yet to come."""
        return self.words[_ENTRIES_AT + number % ENTRIES * _LINE]

    def put(self, entry: Entry) -> None:
        """Describe a frame, before anybody is told."""
        at = 8 * (_ENTRIES_AT + entry.number % ENTRIES * _LINE)
        lengths = (*entry.lengths, *(0,) * (PARTS - len(entry.lengths)))
        _ENTRY.pack_into(self.bytes, at, entry.number, entry.generation, entry.file, entry.offset, entry.size, *lengths)
        fence()

    def get(self, number: int) -> Entry:
        """What is known of the frame of a number that was told."""
        fence()
        at = 8 * (_ENTRIES_AT + number % ENTRIES * _LINE)
        number, generation, file, offset, size, *lengths = _ENTRY.unpack_from(self.bytes, at)
        return Entry(number, generation, file, offset, size, lengths)


class Seat:
    """A reader's place at the board, seen from either side."""

    def __init__(self, board: Board, number: int) -> None:
        self.board, self.number = board, number
        self._words = board.words
        self._told = _SEATS_AT + number * 2 * _LINE
        self._marks = _MARKS_AT + number * ENTRIES
        self._futex = Futex(board.address + 8 * self._told)

    @property
    def told(self) -> int:
        """The newest frame that the reader may take."""
        return self._words[self._told]

    def tell(self, number: int) -> None:
        """Let the reader take a frame: the writer's word."""
        self._words[self._told] = number
        self._futex.wake()

    def wait(self, told: int, seconds: float) -> None:
        """Wait until more is told than `told`."""
        self._futex.wait(told, seconds)

    def wake(self) -> None:
        """Wake the reader for another reason."""
        self._futex.wake()

    @property
    def taken(self) -> int:
        """The last frame that was looked at: the reader's word."""
        return self._words[self._told + _LINE]

    def take(self, number: int) -> None:
        """Say so."""
        self._words[self._told + _LINE] = number
        self.board.ring()

    @property
    def open(self) -> bool:
        """Whether the reader sits there: its word."""
        return self._words[self._told + _LINE + 1] == _SITS

    def sit_down(self) -> None:
        """Be told of frames from now on."""
        self._words[self._told + _LINE + 1] = _SITS
        self.board.ring()

    @property
    def closed(self) -> bool:
        """Whether the reader takes nothing more: the same word."""
        return self._words[self._told + _LINE + 1] == _LEFT

    def close(self) -> None:
        """Take nothing more."""
        fence()
        self._words[self._told + _LINE + 1] = _LEFT
        self.board.ring()

    def clear(self, number: int) -> None:
        """Prepare it for another reader, who is told of frames after `number`; the writer does, before it tells."""
        self._words[self._told] = number
        self._words[self._told + _LINE] = number
        self._words[self._told + _LINE + 1] = 0
        fence()

    def release(self, number: int) -> None:
        """Say that a frame's pixels are read no more: the reader's mark."""
        fence()
        self._words[self._marks + number % ENTRIES] = number
        self.board.ring()

    def skip(self, first: int, end: int) -> None:
        """Say of all from `first` on, before `end`, that they are not read."""
        fence()
        for number in range(max(first, end - ENTRIES + 1), end):
            if self.board.last(number) == number:  # else the mark is an earlier frame's, perhaps just set
                self._words[self._marks + number % ENTRIES] = number
        if first < end:
            self.board.ring()

    def released(self, number: int) -> bool:
        """Whether that was said."""
        return self._words[self._marks + number % ENTRIES] == number
