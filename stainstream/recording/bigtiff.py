"""A BigTIFF file of RGB8 pages that is whole after every page.

tifffile could write the pages too, but the OME-XML only when the file is closed, and it links a page before the pixels
are there: a process that is killed, or a disk that is full, would leave a file that readers refuse.

Source: TIFF 6.0 and the BigTIFF design of Aware Systems; OME-TIFF specification 6.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from stainstream.frame import RGB8

__all__ = ["Pages"]

_ASCII, _SHORT, _LONG, _RATIONAL, _LONG8 = 2, 3, 4, 5, 16
_FIRST_LINK = 8  # where the header points to the first page
_ENTRY = struct.Struct("<HHQ8s")
_BINARY = getattr(os, "O_BINARY", 0)


class Pages:
    """Appends pages of one size; the first page's description can be replaced at any time.

    Parameters
    ----------
    path
        A file that does not exist yet.
    pixel_size_um
        For the resolution tags; None for unknown.
    """

    def __init__(self, path: Path, width: int, height: int, pixel_size_um: float | None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        self._size = (width, height)
        self._per_cm = _rational(1e4 / pixel_size_um) if pixel_size_um else None
        self._link = _FIRST_LINK
        self._end = 16
        self._room = (0, 0)  # of the description: where it is, how long it may become
        self._tag = 0  # where the first page says how long it is and where
        _write(self._file, struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0), 0)

    def append(self, rgb: RGB8) -> None:
        """Append a page: first its pixels, then its tags, and last the link that makes it part of the file."""
        start, length = self._end, rgb.nbytes
        tags = start + length + -length % 8
        block, described = self._tags(start, length, self._link == _FIRST_LINK)
        try:
            _write(self._file, rgb.data.cast("B"), start)
            _write(self._file, block, tags)
        except OSError:
            os.ftruncate(self._file, start)
            raise
        _write(self._file, struct.pack("<Q", tags), self._link)
        self._tag = tags + described if self._link == _FIRST_LINK else self._tag
        self._link = tags + len(block) - 8
        self._end = tags + len(block)

    def describe(self, text: str, room: int = 0) -> None:
        """Give the first page a description, and reserve `room` bytes in all for the ones that follow.

        One that fits into the room of the one before takes its place, so that it also fits on a full disk.
        """
        data = text.encode().ljust(8, b"\0") + b"\0"  # what is shorter would have to stand in the tag itself
        where, length = self._room
        if len(data) > length or room > length:
            where, length = self._end, max(room, len(data))
            try:
                _write(self._file, data.ljust(length, b"\0"), where)
            except OSError:
                os.ftruncate(self._file, where)
                raise
            self._end, self._room = where + length + -length % 8, (where, length)
        else:
            _write(self._file, data, where)
        _write(self._file, struct.pack("<QQ", len(data), where), self._tag)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _tags(self, start: int, length: int, first: bool) -> tuple[bytes, int]:
        """A page's tags, in rising order, and at which of their bytes the description's length stands."""
        width, height = self._size
        tags = [
            (256, _LONG, 1, struct.pack("<II", width, 0)),
            (257, _LONG, 1, struct.pack("<II", height, 0)),
            (258, _SHORT, 3, struct.pack("<4H", 8, 8, 8, 0)),
            (259, _SHORT, 1, struct.pack("<4H", 1, 0, 0, 0)),  # uncompressed
            (262, _SHORT, 1, struct.pack("<4H", 2, 0, 0, 0)),  # RGB
            *([(270, _ASCII, 1, bytes(8))] if first else []),
            (273, _LONG8, 1, struct.pack("<Q", start)),
            (277, _SHORT, 1, struct.pack("<4H", 3, 0, 0, 0)),
            (278, _LONG, 1, struct.pack("<II", height, 0)),
            (279, _LONG8, 1, struct.pack("<Q", length)),
            (284, _SHORT, 1, struct.pack("<4H", 1, 0, 0, 0)),  # channels interleaved
        ]
        if self._per_cm is not None:
            tags += [(tag, _RATIONAL, 1, self._per_cm) for tag in (282, 283)]
            tags.append((296, _SHORT, 1, struct.pack("<4H", 3, 0, 0, 0)))  # centimeters
        tags.sort()
        entries = b"".join(_ENTRY.pack(*tag) for tag in tags)
        described = 8 + _ENTRY.size * [tag[0] for tag in tags].index(270) + 4 if first else 0
        return struct.pack("<Q", len(tags)) + entries + bytes(8), described


def _rational(value: float) -> bytes:
    scale = 1 << 16 if value < 1 << 15 else 1
    return struct.pack("<II", min(round(value * scale), 0xFFFFFFFF), scale)


def _write(file: int, data: bytes | memoryview, where: int) -> None:
    """Write all of `data` at a place; a disk that fills up half-way takes a part first and fails at the next."""
    rest = memoryview(data)
    os.lseek(file, where, os.SEEK_SET)
    while rest:
        rest = rest[os.write(file, rest) :]
