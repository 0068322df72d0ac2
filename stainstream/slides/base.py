"""What every reader of slides has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stainstream.errors import SourceError
from stainstream.frame import RGB8
from stainstream.resource import Resource

__all__ = ["About", "Slide", "on_white", "unreadable"]


@dataclass(frozen=True, slots=True)
class About:
    """What a slide says of itself."""

    width: int
    height: int
    """Of level 0, in pixels."""
    vendor: str
    pixel_size_um: tuple[float, float] | None = None
    """Width and height of a pixel on the specimen, in um; None where the slide does not say."""
    power: float | None = None
    """The objective's magnification."""
    tile: tuple[int, int] | None = None
    """Width and height of the file's own tiles."""
    fingerprint: str = ""
    """What the reader takes for the slide's identity, without reading all of it."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Whatever else it says, under the reader's names."""


class Slide(Resource, ABC):
    """A whole slide that is read piece by piece; `read` may be called from several threads at once.

    Parameters
    ----------
    path
        The slide's file.

    Raises
    ------
    SourceError
        When it opens, if this reader cannot read it; the reason is the reader's own.
    """

    title = ""
    """What people call the reader."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file: Any = None
        """The reader's own object, which has a method ``close``; set when it opens, like `_about`."""
        self._about: About | None = None

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @property
    def about(self) -> About:
        """What it says of itself, once it was opened."""
        assert self._about is not None
        return self._about

    @abstractmethod
    def read(self, x: int, y: int, width: int, height: int) -> RGB8:
        """Pixels of level 0, at most to its edges: uint8 (height, width, 3). What was not scanned is white.

        Raises
        ------
        SourceError
            If they cannot be decoded; the slide is to be closed then.
        """

    @abstractmethod
    def thumbnail(self, longest: int) -> RGB8:
        """The whole slide, its longer side of so many pixels at most."""

    @abstractmethod
    def associated(self) -> Mapping[str, Callable[[], RGB8]]:
        """Pictures that come with it, by name (``"label"``, ``"macro"``, ``"thumbnail"``), each read when called."""


def on_white(image: Any) -> RGB8:
    """A PIL image, or an array (height, width, 3 or 4), as RGB; what is transparent was not scanned and is white."""
    pixels = image if isinstance(image, np.ndarray) else np.asarray(image if image.mode == "RGBA" else _rgb(image))
    if pixels.shape[-1] == 3:
        return np.ascontiguousarray(pixels, np.uint8)
    rgb: RGB8 = np.ascontiguousarray(pixels[..., :3], np.uint8)
    alpha = pixels[..., 3]
    if alpha.min() == 0:
        rgb[alpha == 0] = 255
    return rgb


def _rgb(image: Any) -> Any:
    return image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")


def unreadable(path: Path, x: int, y: int, reason: object) -> SourceError:
    """The error for a place that cannot be decoded."""
    text = " ".join(str(reason).split()) or "no reason given"
    return SourceError(f"cannot read {path}", f"the place {x}, {y} cannot be decoded: {text}", "scan or copy it anew")
