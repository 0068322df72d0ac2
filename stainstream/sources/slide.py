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

from stainstream.config import Settings
from stainstream.errors import SourceError
from stainstream.frame import Frame, PixelFormat
from stainstream.slides import Slide as Reader
from stainstream.slides.opening import open_slide
from stainstream.slides.tissue import TissueMask

from .base import Source
from .pace import Pace

__all__ = ["Slide"]


class Slide(Source):
    """Tiles of a whole slide, at full resolution: ``slide:FILE``, or a file named as slides are.

    ``meta`` holds ``slide``, the file's name, ``x`` and ``y``, the tile's upper left corner in pixels, ``column`` and
    ``row``, and, where the slide says how large its pixels are, ``pixel_size_um`` (also as ``mpp``) and ``stage``,
    where a stage would stand to see the tile: ``x`` and ``y`` of its center, in um from the slide's upper left corner.
    Tiles at the right and lower edge are left out unless they are whole. Tiles that cannot be decoded are counted as
    ``unreadable tile``.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        tile: Annotated[int, msgspec.Meta(ge=16, le=8192)] = 512
        """Side of a tile, in pixels."""
        order: Literal["scan", "snake", "scatter"] = "scan"
        """Row by row; row by row with every other one backwards, as stages go; or all over the slide, such that the
        first tiles stand for all of it."""
        tissue: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
        """The share of tissue that a tile has at least; 0 for every tile."""
        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
        """Tiles a second; 0 for as many as are taken."""
        reader: Literal["", "openslide", "tifffile", "cucim"] = ""
        """What reads it; empty for the first that can."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._path = Path(re.sub(r"^slide:", "", target, flags=re.IGNORECASE))
        self._slide: Reader | None = None
        self._places: list[tuple[int, int]] = []

    @property
    def waits(self) -> bool:
        return True

    def _open(self) -> None:
        self._slide = open_slide(self._path, self.options.reader)
        self._places = self._chosen(self._slide)
        if not self._places:
            side, share = self.options.tile, self.options.tissue
            raise SourceError(
                f"cannot read {self._path}",
                f"no tile of {side}x{side} has {100 * share:g} % of tissue",
                "set tile smaller",
            )

    def _close(self) -> None:
        slide, self._slide = self._slide, None
        if slide is not None:
            slide.close()

    def __iter__(self) -> Iterator[Frame]:
        if (slide := self._slide) is None:
            raise SourceError(f"cannot read {self._path}", "it is not open")
        pace, seq, side = Pace(self.options.rate, self.stopping), 0, self.options.tile
        for x, y in self._places:
            if not pace.wait():
                return
            try:
                image = slide.read(x, y, side, side)
            except SourceError:
                self.rejected["unreadable tile"] += 1
                slide.close()  # one error makes OpenSlide's handle useless
                slide = self._slide = open_slide(self._path, self.options.reader)
                continue
            yield Frame(image, PixelFormat.RGB8, seq, time.monotonic_ns(), self._meta(slide, x, y))
            seq += 1

    def _meta(self, slide: Reader, x: int, y: int) -> dict[str, Any]:
        side, size = self.options.tile, slide.about.pixel_size_um
        meta: dict[str, Any] = {"slide": self._path.name, "x": x, "y": y, "column": x // side, "row": y // side}
        if size:
            stage = {"x": (x + side / 2) * size[0], "y": (y + side / 2) * size[1]}
            meta |= {"mpp": size[0], "pixel_size_um": size[0], "stage": stage}
        return meta

    def _chosen(self, slide: Reader) -> list[tuple[int, int]]:
        """Upper left corners of the tiles, in order."""
        side, width, height = self.options.tile, slide.about.width, slide.about.height
        rows, columns = range(0, height - side + 1, side), range(0, width - side + 1, side)
        places = [(x, y) for y, x in product(rows, columns)]
        if self.options.order == "snake":
            places = [(x, y) for y in rows for x in (columns if y // side % 2 == 0 else reversed(columns))]
        if self.options.tissue and places:
            mask = TissueMask(slide.thumbnail(TissueMask.size()), width, height)
            places = [(x, y) for x, y in places if mask.share(x, y, side, side) >= self.options.tissue]
        if self.options.order == "scatter":
            places = [places[k] for k in np.random.default_rng(0).permutation(len(places))]
        return places
