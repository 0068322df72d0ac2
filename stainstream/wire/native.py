"""Our own format, a strict superset of array-1.0: see docs/wire.md."""

from __future__ import annotations

import platform
import struct
import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from stainstream.errors import WireError
from stainstream.frame import Frame

from .base import MAX_FRAME_BYTES, Buffer
from .htype import describe, restore
from .parts import HEADER_BYTES, checked, pair, raw, read_header, write_header

__all__ = ["Native"]

_VERSION = 1
_PREFIX = struct.Struct("<4sI")
_MAGIC = b"SSF1"


class _Header(msgspec.Struct):
    """What a message says about itself; plain array-1.0, which says nothing, is a frame."""

    ssf: int = _VERSION
    kind: Literal["frame", "start", "end", "status"] = "frame"


class Native:
    """``[topic][JSON header][raw pixels]``; see `Codec`.

    The topic may be missing, and all may stand in one part: ``"SSF1"``, the header's length as a little-endian 32-bit
    word, header, pixels.

    Parameters
    ----------
    topic
        What subscribers select by.
    source
        What the feed calls itself, for frames that do not say where they come from.
    """

    def __init__(
        self, *, max_frame_bytes: int = MAX_FRAME_BYTES, topic: str = "normalized", source: str = "stainstream"
    ) -> None:
        self._limit = max_frame_bytes
        self._topic = topic.encode()
        self._defaults = {"source": source, "epoch": uuid.uuid4().hex}
        self._host = platform.node()

    def encode(self, frame: Frame) -> list[Buffer]:
        structure = {**describe(frame), "ssf": _VERSION, "kind": "frame"}
        meta = {**self._defaults, **self._times(frame), **frame.meta}
        return [self._topic, write_header(structure, meta), raw(frame.image)]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        text, payload = _split(parts)
        header = read_header(text)
        known = checked(header, _Header)
        if known.ssf != _VERSION:
            raise WireError("unknown version", f"ssf is {known.ssf}, not {_VERSION}")
        if known.kind != "frame":
            return None
        for key in _Header.__struct_fields__:
            header.pop(key, None)
        return restore(header, payload, self._limit)

    def _times(self, frame: Frame) -> dict[str, Any]:
        """When the frame was captured: by the wall clock, and by this host's monotonic clock."""
        age = time.monotonic_ns() - frame.captured_ns
        times = {"t_utc_ns": time.time_ns() - age}
        # A monotonic time means nothing without the host whose clock it is: both are ours, or both the sender's.
        if "host" in frame.meta or "t_mono_ns" in frame.meta:
            return times
        return {**times, "t_mono_ns": frame.captured_ns, "host": self._host}


def _split(parts: Sequence[Buffer]) -> tuple[Buffer, Buffer]:
    """Header and payload."""
    if len(parts) == 1:
        return _cut(memoryview(parts[0]))
    return pair(parts[1:] if len(parts) == 3 else parts)


def _cut(part: memoryview) -> tuple[Buffer, Buffer]:
    """Header and payload that stand in one part."""
    if len(part) < _PREFIX.size or part[:4] != _MAGIC:
        raise WireError("wrong number of parts", f"it has 1, which does not begin with {_MAGIC.decode()}")
    _, length = _PREFIX.unpack_from(part)
    if length > min(HEADER_BYTES, len(part) - _PREFIX.size):
        raise WireError("large header", f"it says {length} bytes, of a part of {len(part)}")
    end = _PREFIX.size + length
    return part[_PREFIX.size : end], part[end:]
