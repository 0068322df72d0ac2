"""What a viewer and the server say to each other over the WebSocket; docs/viewer.md describes it for other clients."""

from __future__ import annotations

import struct
from typing import Annotated, Any, TypeAlias

import msgspec

from stainstream.errors import WireError

__all__ = [
    "LARGEST",
    "MAGIC",
    "Crop",
    "FrameHeader",
    "Look",
    "Ping",
    "Probe",
    "Ready",
    "Record",
    "Request",
    "Switch",
    "pack",
    "request",
    "unpack",
]

MAGIC = b"SSV1"
LARGEST = 4096
"""How many bytes a viewer's message may have: a larger one ends the connection."""

_PREFIX = struct.Struct("<4sI")
_Pixel = Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]

Crop: TypeAlias = tuple[_Pixel, _Pixel, _Pixel, _Pixel]
"""x, y, width, height of a part of a frame, in its pixels; the server cuts off what lies outside."""

WHOLE: Crop = (0, 0, 1 << 24, 1 << 24)


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag=str.lower):
    """Base of what viewers send."""


class Ready(_Message, frozen=True, tag="ready"):
    """Send me the newest frame once you have one that I have not seen."""

    credit: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    """How many frames may be on their way to me at the same time, beyond those asked for already."""


class Look(_Message, frozen=True, tag="look"):
    """Which part of the frames to send, and how; each half may have its own part, or none."""

    raw: Crop | None = WHOLE
    normalized: Crop | None = WHOLE
    scale: Annotated[float, msgspec.Meta(ge=1, le=16)] = 1.0
    """Frames are made smaller by this factor."""
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 85
    """Of the JPEG; from 90 on its colors have the full resolution."""
    again: int | None = None
    """Number of a frame that was sent last: it is sent again, in the new way, without credit."""


class Ping(_Message, frozen=True, tag="ping"):
    """What time is it? The answer holds `sent` and the server's monotonic clock, to tell the age of frames by."""

    sent: float


class Probe(_Message, frozen=True, tag="probe"):
    """Which colors has a pixel of a frame that was sent last? The answer holds them exactly, before and after."""

    frame: int
    x: _Pixel
    y: _Pixel


class Switch(_Message, frozen=True, tag="switch"):
    """Normalize with another model."""

    model: Annotated[str, msgspec.Meta(max_length=512)]


class Record(_Message, frozen=True, tag="record"):
    """Start or stop recording."""

    on: bool


Request: TypeAlias = Ready | Look | Ping | Probe | Switch | Record
_DECODER: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def request(data: str | bytes) -> Request:
    """Read what a viewer sent.

    Raises
    ------
    WireError
        If it is no such message.

    Examples
    --------
    >>> request('{"op": "ready", "credit": 2}')
    Ready(credit=2)
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError("unusable message", str(error)) from error


class FrameHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands before the two JPEG images of a frame."""

    seq: int
    captured_ns: int
    """Monotonic clock of the server; see `Ping`."""
    width: int
    height: int
    """Of the whole frame, in pixels."""
    scale: float
    raw: Crop | None
    """Which part of the frame the first image shows; None if it was not sent."""
    normalized: Crop | None
    sizes: tuple[int, int]
    """Bytes of the two images; 0 for the one that was not sent."""
    model: Any = None
    """Name, SHA-256 and engine."""
    pixel_um: float | None = None
    """Size of a pixel in the specimen, in micrometers, where the source says so."""
    drift: Any = None
    """How far the frame's colors are from those that the model was made for, where somebody watches that."""


def pack(header: FrameHeader, raw: bytes, normalized: bytes) -> bytes:
    """Make a frame's message: ``SSV1``, the header's length (32 bits, little-endian), the header (JSON), two JPEGs."""
    text = msgspec.json.encode(header)
    return b"".join((_PREFIX.pack(MAGIC, len(text)), text, raw, normalized))


def unpack(message: bytes) -> tuple[FrameHeader, bytes, bytes]:
    """Read a frame's message.

    Raises
    ------
    WireError
        If it is none, or is cut off.
    """
    if len(message) < _PREFIX.size or message[:4] != MAGIC:
        raise WireError("no frame", f"it does not begin with {MAGIC.decode()}")
    _, length = _PREFIX.unpack_from(message)
    try:
        header = msgspec.json.decode(message[_PREFIX.size : _PREFIX.size + length], type=FrameHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError("unusable header", str(error)) from error
    first = _PREFIX.size + length
    second, end = first + header.sizes[0], first + sum(header.sizes)
    if min(header.sizes) < 0 or end != len(message):
        raise WireError("short payload", f"{len(message)} bytes, its header says {end}")
    return header, message[first:second], message[second:end]
