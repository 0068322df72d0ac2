"""What every writer of slides has in common."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stainstream.errors import UsageError
from stainstream.frame import RGB8

from .encoding import Compression, Encoding
from .pyramid import Plan, Tile

__all__ = ["Label", "Output"]


@dataclass(frozen=True, slots=True)
class Label:
    """What is written beside the pixels."""

    name: str
    pixel_size_um: tuple[float, float] | None
    """Width and height of a pixel of level 0, in um."""
    power: float | None
    """The objective's magnification."""
    facts: Mapping[str, str]
    """Provenance: model, its digest, the slide that was read, the program."""
    associated: Mapping[str, RGB8] = field(default_factory=dict)
    """Pictures that come with the slide, by name."""

    @property
    def uuid(self) -> str:
        """Of what was made: the same for the same facts, so that a slide made twice is the same file."""
        text = "\n".join(f"{key}={value}" for key, value in sorted(self.facts.items()))
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"stainstream:{self.name}\n{text}"))


class Output(ABC):
    """Writes one slide to a place where nothing is.

    Parameters
    ----------
    path
        The file or folder to make.
    plan
        The tiles to come.

    Raises
    ------
    UsageError
        If this kind of slide cannot be stored so.
    """

    compressions: ClassVar[tuple[Compression, ...]]
    """What it may be stored with, the default first."""
    predicts: ClassVar[bool]
    """Whether zstd and deflate are given differences of neighbors."""

    def __init__(self, path: Path, plan: Plan, encoding: Encoding, label: Label) -> None:
        self.path, self.plan, self.encoding, self.label = path, plan, encoding, label

    @classmethod
    def encoding_for(cls, compression: str, quality: int, name: str) -> Encoding:
        """Check what was asked for; an empty `compression` is the default.

        Raises
        ------
        UsageError
            If `name`, a file of this kind, cannot be stored so.
        """
        for known in cls.compressions:
            if known == (compression or cls.compressions[0]):
                encoding = Encoding(compression=known, quality=quality)
                _ = encoding.level
                return encoding
        raise UsageError(
            f"cannot write {name} with {compression}", f"this kind of slide takes {', '.join(cls.compressions)}"
        )

    @classmethod
    def chunk(cls, level: int, column: int, row: int) -> str:  # noqa: ARG003 - others need it
        """Where under `path` a tile is a file of its own, which may lie there before `write`; empty where none is."""
        return ""

    @abstractmethod
    def write(self, tiles: Iterator[Tile]) -> None:
        """Write all tiles, those of a level in order, and whatever else belongs to the slide.

        Raises
        ------
        OSError
            If it cannot be stored; what was written then is of no use.
        """
