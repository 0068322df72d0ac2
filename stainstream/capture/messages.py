"""What the capture process and its owner say to each other: one line of JSON each."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

__all__ = [
    "Attached",
    "Failure",
    "Found",
    "Message",
    "Opened",
    "Order",
    "Picture",
    "Said",
    "Trouble",
    "decode",
    "encode",
]


class Order(msgspec.Struct, frozen=True):
    """What the capture process is to do; it comes over stdin, where no list of processes shows its passwords."""

    driver: str
    """``"package.module:Class"``."""
    target: str = ""
    """The camera's address without options; empty to list what is attached."""
    options: dict[str, Any] = {}
    hint: str = ""
    """What `Opened` said the last time."""
    memory: str = ""
    """Of the ring; see `Shared`."""


class Opened(msgspec.Struct, tag="opened", frozen=True):
    """The camera is open."""

    hint: str
    """How to find the same camera again, surely or sooner; empty if there is no better way than its address."""


class Picture(msgspec.Struct, tag="picture", frozen=True):
    """A slot of the ring was filled."""

    slot: int
    slot_bytes: int
    """Size of the ring's slots; it never changes."""
    shape: tuple[int, ...]
    format: str
    captured_ns: int
    """When it arrived, in nanoseconds of `time.monotonic_ns`."""
    lost: int
    """Pictures that are missing before this one."""
    print: int | None
    """Fingerprint of some of its rows; None if these are all of one value."""
    meta: dict[str, Any]


class Failure(msgspec.Struct, tag="failure", frozen=True):
    """A picture came, but is of no use."""

    cause: str


class Trouble(msgspec.Struct, tag="trouble", frozen=True):
    """The camera could not be opened, or is lost; see `SourceError`."""

    asked: str
    reason: str
    cure: str
    lost: bool
    """Whether the process ends; else it tries again to open the camera."""


class Said(msgspec.Struct, tag="said", frozen=True):
    """A line for the log."""

    level: int
    text: str


class Attached(msgspec.Struct, frozen=True):
    """A camera that is attached."""

    address: str
    """What to give as ``--source``."""
    name: str
    """What the camera calls itself."""
    stable: str = ""
    """An address that stays the same when cameras are plugged in anew; empty if there is none."""


class Found(msgspec.Struct, tag="found", frozen=True):
    """The cameras that are attached."""

    cameras: list[Attached]


Message: TypeAlias = Opened | Picture | Failure | Trouble | Said | Found

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Message)


def encode(message: Message | Order) -> bytes:
    """One line."""
    return _ENCODER.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line."""
    decoded: Message = _DECODER.decode(line)
    return decoded
