"""The consumer's side of a live feed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from stainstream.errors import WireError
from stainstream.security import Curve

from .live import Wanting
from .receiver import MAX_FRAME_BYTES
from .tile import Tile, read

__all__ = ["Viewer"]

_SLICE_S = 0.1


class Viewer:
    """Hands out the newest frame whenever one is asked for: however slow the program is, it is never behind.

    To be iterated over in a ``with`` block, until `stop`. Parameters as `Subscriber`'s.
    """

    def __init__(
        self,
        address: str,
        *,
        bind: bool = False,
        name: str = "viewer",
        max_frame_bytes: int = MAX_FRAME_BYTES,
        curve: str = "",
        keys: str = "",
    ) -> None:
        self.stopping = threading.Event()
        self._limit = max_frame_bytes
        self._wanting = Wanting(
            address, bind=bind, name=name, max_frame_bytes=max_frame_bytes, curve=Curve.of(curve, keys)
        )

    @property
    def skipped(self) -> int:
        """Frames that were left out because the program was too slow for them."""
        return self._wanting.skipped

    def stop(self) -> None:
        """End the iteration soon; from any thread."""
        self.stopping.set()

    def __enter__(self) -> Self:
        self._wanting.link.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._wanting.link.close()

    def __iter__(self) -> Iterator[Tile]:
        while not self.stopping.is_set():
            body = self._wanting.take(_SLICE_S)
            if body is None:
                continue
            try:
                tile = read("", 0, body, limit=self._limit)
                number = tile.header.get("frame", 0)
                yield Tile(str(tile.header.get("source", "")), number, tile.header, tile.payload)
            except WireError as error:
                self._wanting.link.reject("unreadable tile", error)
