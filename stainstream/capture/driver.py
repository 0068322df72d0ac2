"""A family of cameras, as its vendor's library shows them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from stainstream.config import Settings
from stainstream.frame import PixelFormat

from .messages import Attached, Failure
from .ring import Bytes

__all__ = ["Driver", "Shot", "gap"]


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture, in memory of the vendor's library: it is copied before the next one is read."""

    image: NDArray[Any]
    format: PixelFormat
    lost: int = 0
    """Pictures that are missing before this one by the camera's own numbers, or that its library skipped."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """``device_frame`` and ``device_ns``, the camera's own number and clock, and what else it says; plain JSON."""
    captured_ns: int = field(default_factory=time.monotonic_ns)


class Driver(ABC):
    """Opens, reads and closes one camera; lives in the capture process, and only there imports the vendor's library.

    Any call may block or crash: whoever owns the process notices, and ends it.

    Parameters
    ----------
    target
        The camera's address without options, credentials included.
    options
        The settings of the source that it serves, of type `Options`.
    """

    Options: type[Settings] = Settings

    def __init__(self, target: str, options: Any) -> None:
        self.target, self.options = target, options
        self.hint = ""
        """What the last successful `open` returned, perhaps in an earlier process; empty if there was none."""
        self.room: Bytes | None = None
        """Where the next picture's bytes will be copied to, for libraries that can write there; None if unknown yet."""

    @abstractmethod
    def open(self) -> str:
        """Open the camera and start it.

        A process opens a camera once: after a failure it tries again, after a loss it ends, since not all libraries
        recover from one.

        Returns
        -------
        How to find the same camera again, surely or sooner; empty if there is no better way than its address.

        Raises
        ------
        SourceError
            Naming the camera, the reason and the cure.
        """

    @abstractmethod
    def read(self) -> Shot | Failure | None:
        """The next picture; None if there was none within about 0.1 s.

        Raises
        ------
        SourceError
            If the camera is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop the camera and let go of it, as far as it was opened."""

    @staticmethod
    def attached() -> list[Attached]:
        """The cameras that are attached.

        Raises
        ------
        SourceError
            If they cannot be listed, with the cure.
        """
        return []


def gap(before: int | None, now: int, last: int = 0) -> int:
    """How many numbers are missing between two that a camera counted up.

    Parameters
    ----------
    before
        None if `now` is the first.
    last
        The number after which the camera counts on from 1; 0 if it never does.

    Examples
    --------
    >>> gap(7, 10), gap(None, 10), gap(65534, 2, 65535), gap(10, 3)
    (2, 0, 2, 0)
    """
    if before is None:
        return 0
    missing = now - before - 1
    if missing < 0 and last:
        missing += last
    return max(0, missing)
