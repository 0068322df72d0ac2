"""What every format of recordings has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from stainstream.config import Settings
from stainstream.errors import SinkError
from stainstream.frame import RGB8

__all__ = ["About", "Encoding", "Shot", "Stamp", "Writer", "number", "utc"]


class Encoding(Settings, frozen=True, kw_only=True):
    """How lossy formats encode; the others take no notice."""

    rate: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    """Frames a second at which a video plays; 0 for the pace at which the frames were captured."""
    quality: Annotated[int, msgspec.Meta(ge=0, le=51)] = 18
    """H.264's constant rate factor: lower is better; 18 cannot be told from the original by eye."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "ultrafast"
    """How long the encoder looks for a smaller file."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What is recorded of a frame."""

    images: Mapping[str, RGB8]
    """By stream: ``"normalized"``, ``"raw"`` or both, of one size."""
    seq: int
    captured_ns: int
    """As in `Frame`."""
    meta: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        height, width, _ = next(iter(self.images.values())).shape
        return width, height

    @property
    def nbytes(self) -> int:
        """What its pixels take of memory."""
        return sum(image.nbytes for image in self.images.values())


@dataclass(frozen=True, slots=True)
class About:
    """What is true of a recording as a whole."""

    stream: str
    """``"normalized"`` or ``"raw"``."""
    width: int
    height: int
    utc_ns: int
    """When the first frame was captured, in ns since 1970."""
    pixel_size_um: float | None
    """Edge of a pixel on the specimen, in um; None where nobody said."""
    facts: Mapping[str, str]
    """What else the file shall say of itself: model, digest, source."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is known of one frame."""

    seq: int
    """The source's number."""
    seconds: float
    """Since the first frame was captured."""
    meta: Mapping[str, Any]
    """The frame's metadata."""


class Writer(ABC):
    """Writes the frames of one recording, all of one size, to a place where nothing was before.

    What was written can be read at any moment, also after the process was killed, up to what the format's own
    docstring says. After a failed `write`, `close` leaves a file of the frames before it.

    Raises
    ------
    FileExistsError
        If something has that name already.
    OSError, SinkError
        If it cannot be begun there.
    """

    @abstractmethod
    def __init__(self, path: Path, about: About, encoding: Encoding) -> None: ...

    @abstractmethod
    def write(self, rgb: RGB8, stamp: Stamp) -> None:
        """Append a frame.

        Raises
        ------
        OSError, SinkError
            If it could not be stored, because the disk is full for example.
        """

    @abstractmethod
    def close(self) -> int:
        """Finish the file; safe twice.

        Returns
        -------
        How many frames are in it.
        """


def number(meta: Mapping[str, Any], *keys: str) -> float | None:
    """A finite number in a frame's metadata, by the keys that lead to it; None where there is none.

    Examples
    --------
    >>> number({"stage": {"x": 12.5}}, "stage", "x"), number({"stage": "far"}, "stage", "x")
    (12.5, None)
    """
    found: object = meta
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    fits = isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1e15
    return float(found) if fits and math.isfinite(found) else None  # type: ignore[arg-type]


def utc(ns: int) -> str:
    """A moment in ns since 1970, as text of fixed width, to the microsecond.

    Examples
    --------
    >>> utc(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456Z'
    """
    try:
        moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns // 1000 % 1_000_000)
    except (OverflowError, ValueError, OSError) as error:
        raise SinkError("cannot tell the time of a frame", f"{ns} ns since 1970 is no date") from error
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
