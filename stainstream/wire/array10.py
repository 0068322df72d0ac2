"""PSI's htype ``array-1.0``, as EPICS areaDetector's ADZMQ plug-in and mflow send it."""

from __future__ import annotations

from collections.abc import Sequence

from stainstream.frame import Frame

from .base import MAX_FRAME_BYTES, Buffer
from .htype import describe, restore
from .parts import pair, raw, read_header, write_header

__all__ = ["Array10"]


class Array10:
    """``[JSON header][raw pixels]``; see `Codec` and `stainstream.wire.htype`."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes

    def encode(self, frame: Frame) -> list[Buffer]:
        return [write_header(describe(frame), frame.meta), raw(frame.image)]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        header, payload = pair(parts)
        return restore(read_header(header), payload, self._limit)
