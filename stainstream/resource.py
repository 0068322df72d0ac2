"""Things that are opened, used and closed."""

from __future__ import annotations

import threading
from abc import ABC
from types import TracebackType
from typing import Self

__all__ = ["Resource"]


class Resource(ABC):
    """Something to use in a ``with`` block.

    Subclasses override `_open` and `_close`. `close` may be called twice and from any thread; a resource that failed
    to open is closed again before the error leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether the resource is open."""
        return self._is_open

    def open(self) -> None:
        """Acquire what the resource needs; a second call does nothing."""
        with self._lock:
            if self._is_open:
                return
            try:
                self._open()
            except BaseException:
                self._close()
                raise
            self._is_open = True

    def close(self) -> None:
        """Release everything; safe twice and from any thread."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                self._close()

    def _open(self) -> None:
        """Acquire; the default needs nothing."""

    def _close(self) -> None:
        """Release, also what a failed `_open` left half acquired; the default holds nothing."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
