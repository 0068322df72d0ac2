"""Encoded tiles that wait on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Spool"]


class Spool:
    """Tiles of several levels that come mixed and are wanted level by level; in a file without a name in `folder`."""

    def __init__(self, folder: Path, levels: int) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(levels)]
        self._end = 0

    def add(self, level: int, data: bytes) -> None:
        """Keep a tile.

        Raises
        ------
        OSError
            If the disk is full.
        """
        self._file.seek(self._end)
        self._file.write(data)
        self._places[level].append((self._end, len(data)))
        self._end += len(data)

    def level(self, level: int) -> Iterator[bytes]:
        """The tiles of a level, in the order in which they came."""
        for start, length in self._places[level]:
            self._file.seek(start)
            yield self._file.read(length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
