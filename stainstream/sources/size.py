"""A frame's size, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stainstream.errors import UsageError

__all__ = ["Size"]

_LARGEST = 16384
_NAMED = {"720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels.

    Examples
    --------
    >>> Size.parse("1920x1080")
    Size(width=1920, height=1080)
    >>> Size.parse("4K").width
    3840
    """

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read ``WIDTHxHEIGHT``, ``720p``, ``1080p`` or ``4K``.

        Raises
        ------
        UsageError
            If it is none of these, or a side is not from 1 to 16384.
        """
        if (named := _NAMED.get(text.lower())) is not None:
            return cls(*named)
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII | re.IGNORECASE)
        if match is None or not all(1 <= int(side) <= _LARGEST for side in match.groups()):
            raise UsageError(
                f"wrong size {text!r}", f"it is WIDTHxHEIGHT with sides from 1 to {_LARGEST}, or 720p, 1080p, 4K"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"
