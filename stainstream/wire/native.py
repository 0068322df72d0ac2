"""Our own format, a strict superset of array-1.0: see docs/wire.md."""

from __future__ import annotations

import platform
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from stainstream.compression import compress, require
from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat

from .base import MAX_FRAME_BYTES, Buffer
from .htype import describe, restore
from .parts import HEADER_BYTES, checked, pair, raw, read_header, write_header

__all__ = ["Native"]

_VERSION = 1
_PREFIX = struct.Struct("<4sI")
_MAGIC = b"SSF1"
_ALIGNMENT = 8
_JPEG = (PixelFormat.RGB8, PixelFormat.Mono8)


class _Header(msgspec.Struct):
    """What a message says about itself; plain array-1.0, which says nothing, is a frame."""

    ssf: int = _VERSION
    kind: Literal["frame", "start", "end", "status"] = "frame"


class Native:
    """``[topic][JSON header][pixels]``; see `Codec`.

    The topic may be missing, and all may stand in one part: ``"SSF1"``, the header's length as a little-endian 32-bit
    word, header, pixels.

    Parameters
    ----------
    topic
        What subscribers select by.
    source
        What the feed calls itself, for frames that do not say where they come from.
    encoding, quality
        How frames are compressed, see `stainstream.compression`; ``""`` for not at all.
    single
        Whether to write one part, without a topic, into which the pixels are copied.

    Raises
    ------
    MissingExtra
        If the library for `encoding` is not installed.
    """

    def __init__(
        self,
        *,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        topic: str = "normalized",
        source: str = "stainstream",
        encoding: str = "",
        quality: int = 90,
        single: bool = False,
    ) -> None:
        if encoding:
            require(encoding)
        self._limit = max_frame_bytes
        self._topic = topic.encode()
        self._defaults = {"source": source, "epoch": uuid.uuid4().hex}
        self._host = platform.node()
        self._encoding, self._quality, self._single = encoding, quality, single

    def encode(self, frame: Frame) -> list[Buffer]:
        structure = {**describe(frame, self._encoding), "ssf": _VERSION, "kind": "frame"}
        meta = {**self._defaults, **self._times(frame), **frame.meta}
        payload: Buffer = raw(frame.image)
        if self._encoding:
            if self._encoding == "jpeg" and frame.format not in _JPEG:
                raise WireError("unsupported pixel format", f"a JPEG is RGB8 or Mono8, not {frame.format.value}")
            payload = compress(memoryview(payload), self._encoding, frame.image.shape, self._quality)
        return self._message(write_header(structure, meta), payload)

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

    def start(self, frame: Frame) -> list[Buffer]:
        """What comes before the first frame: how frames will look, as far as can be told from it, and who made them."""
        about = {key: frame.meta[key] for key in ("model", "pixel_size_um") if key in frame.meta}
        return self._said("start", **describe(frame, self._encoding), **about)

    def status(self, counts: Mapping[str, Any]) -> list[Buffer]:
        """What is sent once a second, whether there are frames or not."""
        return self._said("status", **counts)

    def end(self, counts: Mapping[str, Any]) -> list[Buffer]:
        """What comes after the last frame: ``frames`` = ``sent`` + the sum of ``dropped``, by cause."""
        return self._said("end", **counts)

    def _said(self, kind: str, **more: Any) -> list[Buffer]:
        now = {"t_utc_ns": time.time_ns(), "t_mono_ns": time.monotonic_ns(), "host": self._host}
        structure = {"htype": "array-1.0", "ssf": _VERSION, "kind": kind, **self._defaults, **now}
        return self._message(write_header({**more, **structure}, {}), b"")

    def _message(self, header: bytes, payload: Buffer) -> list[Buffer]:
        if not self._single:
            return [self._topic, header, payload]
        padded = header + b" " * (-len(header) % _ALIGNMENT)
        return [b"".join((_PREFIX.pack(_MAGIC, len(padded)), padded, payload))]

    def _times(self, frame: Frame) -> dict[str, Any]:
        """When the frame was captured: by the device's clock, the wall clock, and this host's monotonic clock."""
        age = time.monotonic_ns() - frame.captured_ns
        times = {"t_utc_ns": time.time_ns() - age}
        if "device_ns" in frame.meta:
            times |= {"t_device": frame.meta["device_ns"], "t_device_hz": 1_000_000_000}
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
