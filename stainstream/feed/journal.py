"""A small durable memory: which place of which series comes next."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from stainstream.errors import UsageError

__all__ = ["Journal"]

_ROOM = 1 << 20  # bytes after which the file is written anew
_SERIES = 1000  # of which the last word is kept


class Journal:
    """A file with one JSON line for each change; the last one of each series counts.

    A line outlives the process at once, even one that is killed. It outlives the machine's power only as far as its
    system has written it to the disk. One process at a time may use a file.

    Raises
    ------
    UsageError
        If it cannot be read or written, is something else, or is in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = self._opened(self.path)
            text = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot use {self.path}", error.strerror or str(error)) from error
        self._lines = _lines(text, self.path)
        if text and not text.endswith(b"\n"):
            os.write(self._file, b"\n")  # it was cut off while it was written
        self._written = len(text)  # since the file was made anew
        self._torn = False  # whether the last line may be incomplete

    def __getitem__(self, series: str) -> dict[str, Any]:
        """The last word on a series; empty if there is none."""
        return self._lines.get(series, {})

    def put(self, series: str, **word: Any) -> None:
        """Note the last word on a series.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._lines.pop(series, None)
        self._lines[series] = word  # the last one in the order, too
        line = b"\n" * self._torn + _line(series, word)
        self._torn = True
        if (written := os.write(self._file, line)) < len(line):
            raise OSError(errno.ENOSPC, f"only {written} bytes of {len(line)} were written")
        self._torn = False
        self._written += len(line)
        if self._written > _ROOM:
            self._written = 0
            with suppress(OSError):  # there is no room for another file: this one grows
                self._rewrite()

    def close(self) -> None:
        """Let others use the file."""
        os.close(self._file)

    def _opened(self, path: Path) -> int:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(opened)
                raise UsageError(f"cannot use {self.path}", "another process uses it", "give each its own") from error
        return opened

    def _rewrite(self) -> None:
        for series in list(self._lines)[:-_SERIES]:
            del self._lines[series]
        text = b"".join(_line(series, word) for series, word in self._lines.items())
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        opened = self._opened(fresh)  # and locked, before anybody else can find it
        try:
            fresh.write_bytes(text)
            os.replace(fresh, self.path)
        except OSError:
            os.close(opened)
            raise
        os.close(self._file)
        self._file = opened


def _line(series: str, word: dict[str, Any]) -> bytes:
    return json.dumps({"series": series, **word}, separators=(",", ":")).encode() + b"\n"


def _lines(text: bytes, path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    whole = text.split(b"\n")
    for number, line in enumerate(whole, 1):
        try:
            word = json.loads(line) if line else None
            if word is not None:
                series = word.pop("series")
                found.pop(series, None)
                found[series] = word
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            if number == 1 < len(whole):
                raise UsageError(f"cannot use {path}", "it is no journal of a feed", "give another file") from error
            continue  # cut off by a loss of power
    return found
