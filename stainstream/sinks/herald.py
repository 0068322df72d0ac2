"""What a publishing or pushing sink says beside its frames: that it begins, is there, and ends."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from stainstream.frame import Frame
from stainstream.wire.base import Announcer, Buffer, Codec

__all__ = ["Herald"]

_EVERY_S = 1.0


class Herald:
    """Counts frames, and announces them in formats that have messages for it.

    Parameters
    ----------
    codec
        Writes the announcements, if it can.
    send
        Sends a message if that takes no waiting; from any thread.
    """

    def __init__(self, codec: Codec, send: Callable[[list[Buffer]], None]) -> None:
        self._codec = codec if isinstance(codec, Announcer) else None
        self._try = send
        self._frames, self._last = 0, -1
        self._dropped: Counter[str] = Counter()
        self._begun = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, frame: Frame, send: Callable[[list[Buffer]], None]) -> None:
        """Announce the first frame, with `send`, which may wait."""
        if self._codec is None or self._begun:
            return
        if message := self._codec.start(frame):
            send(message)
        self._begun = True
        if self._codec.status(self.counts):
            self._thread = threading.Thread(target=self._tell, name="status", daemon=True)
            self._thread.start()

    def count(self, seq: int, cause: str = "") -> None:
        """Note that a frame was sent, or why not."""
        self._frames, self._last = self._frames + 1, seq
        if cause:
            self._dropped[cause] += 1

    @property
    def counts(self) -> dict[str, Any]:
        """``frames`` = ``sent`` + the sum of ``dropped``; ``frame``: the last one's number."""
        dropped = dict(self._dropped)
        counts = {"frames": self._frames, "sent": self._frames - sum(dropped.values()), "dropped": dropped}
        return counts if self._last < 0 else {**counts, "frame": self._last}

    def end(self) -> None:
        """Announce the end."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_EVERY_S)
        if self._codec is not None and self._begun:
            self._begun = False
            if message := self._codec.end(self.counts):
                self._try(message)

    def _tell(self) -> None:
        while self._codec is not None and not self._closing.wait(_EVERY_S):
            self._try(self._codec.status(self.counts))
