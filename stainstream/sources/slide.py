"""Tiles of a whole slide."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from stainstream.color.spaces import to_opencv_lab
from stainstream.color.tissue import is_ink
from stainstream.config import Settings
from stainstream.errors import SourceError
from stainstream.frame import RGB8, Frame, PixelFormat

from .base import Source
from .pace import Pace

__all__ = ["Slide", "is_slide"]

_OVERVIEW = 2048  # pixels of the longer side of the picture in which tissue is looked for
_TISSUE_BELOW = 204  # OpenCV's 8-bit L*, for 80


class Slide(Source):
    """Tiles of a whole slide that OpenSlide reads, at full resolution: ``slide:FILE``, or a file named as slides are.

    ``meta`` holds ``slide``, the file's name, ``x`` and ``y``, the tile's upper left corner in pixels, and ``mpp``, the
    pixel size in um, where the slide says so. Tiles at the right and lower edge are left out unless they are whole.
    Tiles that cannot be decoded are counted as ``unreadable tile``.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        tile: Annotated[int, msgspec.Meta(ge=16, le=8192)] = 512
        """Side of a tile, in pixels."""
        order: Literal["scan", "scatter"] = "scan"
        """Row by row, or all over the slide, such that the first tiles stand for all of it."""
        tissue: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
        """The share of tissue that a tile has at least; 0 for every tile."""
        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
        """Tiles a second; 0 for as many as are taken."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._path = Path(re.sub(r"^slide:", "", target, flags=re.IGNORECASE))
        self._slide: Any = None
        self._places: list[tuple[int, int]] = []

    @property
    def waits(self) -> bool:
        return True

    def _open(self) -> None:
        import openslide

        asked = f"cannot read {self._path}"
        if not self._path.exists():
            raise SourceError(asked, "there is no such file")
        try:
            self._slide = openslide.OpenSlide(self._path)
            self._places = self._chosen(self._slide)
        except openslide.OpenSlideError as error:  # an unsupported format is one, too
            raise SourceError(asked, f"OpenSlide cannot read it: {error}".strip(": ")) from error
        if not self._places:
            side, share = self.options.tile, self.options.tissue
            raise SourceError(asked, f"no tile of {side}x{side} has {100 * share:g} % of tissue", "set tile smaller")

    def _close(self) -> None:
        if self._slide is not None:
            self._slide.close()
        self._slide = None

    def __iter__(self) -> Iterator[Frame]:
        import openslide

        if (slide := self._slide) is None:
            raise SourceError(f"cannot read {self._path}", "it is not open")
        pace, seq = Pace(self.options.rate, self.stopping), 0
        mpp = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        about = {"slide": self._path.name} | ({"mpp": float(mpp)} if mpp else {})
        for x, y in self._places:
            if not pace.wait():
                return
            try:
                image = _on_white(slide.read_region((x, y), 0, (self.options.tile, self.options.tile)))
            except openslide.OpenSlideError:
                self.rejected["unreadable tile"] += 1
                slide = self._slide = openslide.OpenSlide(self._path)  # one error makes the old one useless
                continue
            yield Frame(image, PixelFormat.RGB8, seq, time.monotonic_ns(), about | {"x": x, "y": y})
            seq += 1

    def _chosen(self, slide: Any) -> list[tuple[int, int]]:
        """Upper left corners of the tiles, in order."""
        side, (width, height) = self.options.tile, slide.dimensions
        places = [(x, y) for y, x in product(range(0, height - side + 1, side), range(0, width - side + 1, side))]
        if self.options.tissue and places:
            overview = _on_white(slide.get_thumbnail((_OVERVIEW, _OVERVIEW)))
            mask, scale = _is_tissue(overview), overview.shape[1] / width
            places = [place for place in places if _share(mask, scale, place, side) >= self.options.tissue]
        if self.options.order == "scatter":
            places = [places[k] for k in np.random.default_rng(0).permutation(len(places))]
        return places


def is_slide(path: str) -> bool:
    """Whether OpenSlide, where it is installed, takes this file for a whole slide."""
    try:
        import openslide
    except ImportError:
        return False
    return Path(path).is_file() and openslide.OpenSlide.detect_format(path) is not None


def _on_white(image: Any) -> RGB8:
    """A PIL image as RGB; what was not scanned is white."""
    pixels = np.asarray(image.convert("RGBA"))
    return np.ascontiguousarray(np.where(pixels[..., 3:] == 0, 255, pixels[..., :3]), np.uint8)


def _is_tissue(image: RGB8) -> Any:
    colors = image.reshape(-1, 3)
    return ((to_opencv_lab(colors)[:, 0] < _TISSUE_BELOW) & ~is_ink(colors)).reshape(image.shape[:2])


def _share(mask: Any, scale: float, place: tuple[int, int], side: int) -> float:
    left, top = (int(each * scale) for each in place)
    reach = max(1, round(side * scale))
    return float(mask[top : top + reach, left : left + reach].mean())
