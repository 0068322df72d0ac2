"""A line of JSON for each frame of a recording, beside it."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

import msgspec

from .base import Stamp, utc

__all__ = ["Sidecar"]


class Sidecar:
    """Writes ``{"frame", "seq", "captured", "seconds", "meta"}``, one line a frame, each stored at once.

    Raises
    ------
    FileExistsError
        If the file is there already.
    """

    def __init__(self, path: Path, utc_ns: int) -> None:
        self._file = path.open("xb", buffering=0)
        self._utc_ns = utc_ns
        self._ends = array("Q", [0])

    def add(self, stamp: Stamp) -> None:
        """Append the next frame's line; if that fails, nothing of it stays."""
        line = {
            "frame": len(self._ends) - 1,
            "seq": stamp.seq,
            "captured": utc(self._utc_ns + round(stamp.seconds * 1e9)),
            "seconds": round(stamp.seconds, 6),
            "meta": stamp.meta,
        }
        rest = memoryview(msgspec.json.encode(line, enc_hook=_plain) + b"\n")
        end = self._ends[-1] + len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.keep(len(self._ends) - 1)
            raise
        self._ends.append(end)

    def keep(self, lines: int) -> None:
        """Forget all but the first `lines`."""
        del self._ends[lines + 1 :]
        self._file.truncate(self._ends[-1])
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _plain(value: Any) -> Any:
    """What JSON has no word for: NumPy's numbers and arrays, and last of all whatever it is in words."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
