"""One slide from one file to another."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec

from stainstream.api import Normalizer
from stainstream.config import Settings
from stainstream.errors import SinkError, UsageError
from stainstream.frame import RGB8
from stainstream.slides import WRITERS, Slide
from stainstream.slides.encoding import encoder
from stainstream.slides.opening import open_slide
from stainstream.slides.output import Label
from stainstream.slides.pyramid import Plan, Tile, build
from stainstream.slides.tissue import TissueMask

from .part import whole

__all__ = ["Made", "Rendering", "SlideOptions"]

_TILE = 512


class SlideOptions(Settings, frozen=True, kw_only=True):
    """How a slide is written."""

    tile: Annotated[int, msgspec.Meta(ge=0, le=4096, multiple_of=32)] = 0
    """Side of a tile in pixels, a multiple of 32 (libtiff misreads others that are not compressed); 0 for a multiple of
    the slide's own tiles, of 512 at most."""
    compression: str = ""
    """``jpeg``, ``jpeg2000``, ``jpeg2000-lossless``, ``zstd``, ``deflate`` or ``none``; empty for the format's own."""
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """See `stainstream.slides.encoding.Encoding`."""
    keep_background: bool = False
    """Leave pixels that are no tissue as they are."""
    associated: bool = True
    """Take label, macro and thumbnail along; a label may name a patient."""
    reader: str = ""
    """``openslide``, ``tifffile`` or ``cucim``; empty for the first that can."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    tiles: int
    """Of level 0."""
    seconds: float
    width: int
    height: int


class Rendering:
    """Normalizes a slide, in constant memory, into a pyramid that appears under its name when it is whole.

    Parameters
    ----------
    source
        The slide's file.
    target
        The file or folder to make or replace: ``.ome.zarr``, ``.ome.tiff``, ``.tiff`` or ``.svs``.
    normalize
        What is done to each tile of level 0; the lower levels are means of the normalized pixels. None copies.
    threads
        How many read, normalize and encode; all processors by default.

    Raises
    ------
    UsageError, MissingExtra
        If `target` is of no kind that can be written, or not in that way.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        normalize: Normalizer | None,
        options: SlideOptions | None = None,
        threads: int | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        self.source, self.target, self.options = source, target, options or SlideOptions()
        self._normalize, self._threads = normalize, threads or os.cpu_count() or 1
        self._kind = WRITERS.serving(target.name).load()
        self._encoding = self._kind.encoding_for(self.options.compression, self.options.quality, target.name)
        self._facts = facts or {}
        self._stopped = threading.Event()
        self.tiles, self.done = 0, 0
        """How many tiles level 0 has, and how many of them are written."""
        if source.absolute() == target.absolute():
            raise UsageError(f"cannot write {target}", "it is the slide that is read", "give another name")

    def stop(self) -> None:
        """End early, from any thread; nothing is written then."""
        self._stopped.set()

    def run(self, tell: Callable[[Rendering], None] = lambda rendering: None) -> Made | None:  # noqa: ARG005
        """Do it; `tell` is called after every tile of level 0.

        Returns
        -------
        What was written, or None if it was stopped before that.

        Raises
        ------
        SourceError
            If the slide cannot be read, or not to its end.
        SinkError
            If the result cannot be written: the disk is full, for example.
        """
        began = time.monotonic()
        with open_slide(self.source, self.options.reader) as slide:
            plan = self._plan(slide)
            self.tiles, self.done = plan.tiles, 0
            try:
                encode = encoder(self._encoding, predict=self._kind.predicts)
                with (
                    whole(self.target) as part,  # around the tiles: the slide is not closed while threads read it
                    contextlib.closing(build(plan, self._producer(slide), encode, self._threads)) as tiles,
                ):
                    self._kind(part, plan, self._encoding, self._label(slide)).write(self._counted(tiles, tell))
            except _Stopped:
                return None
            except OSError as error:
                raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error
        return Made(plan.tiles, time.monotonic() - began, plan.width, plan.height)

    def _plan(self, slide: Slide) -> Plan:
        tile, own = self.options.tile, slide.about.tile
        if not tile:  # in step with the slide's tiles, so that none is decoded twice
            side = own[0] if own and own[0] == own[1] else _TILE
            tile = max((k * side for k in range(1, _TILE // side + 1) if k * side % 32 == 0), default=_TILE)
        return Plan(slide.about.width, slide.about.height, tile)

    def _producer(self, slide: Slide) -> Callable[[int, int, int, int], RGB8]:
        normalize = self._normalize
        if normalize is None:
            return slide.read
        if not self.options.keep_background:
            return lambda x, y, width, height: _inplace(normalize, slide.read(x, y, width, height))
        about = slide.about
        mask = TissueMask(slide.thumbnail(TissueMask.size()), about.width, about.height, margin=1)

        def produce(x: int, y: int, width: int, height: int) -> RGB8:
            pixels, tissue = slide.read(x, y, width, height), mask.at(x, y, width, height)
            if not tissue.any():
                return pixels
            changed = normalize(pixels)
            changed[~tissue] = pixels[~tissue]
            return changed

        return produce

    def _label(self, slide: Slide) -> Label:
        about = slide.about
        facts = {
            "software": f"stainstream {version('stainstream')}",
            "source": self.source.name,
            "source_vendor": about.vendor,
            "background": "kept" if self.options.keep_background else "normalized",
        }
        if about.fingerprint:
            facts["source_fingerprint"] = about.fingerprint
        if self._normalize is not None:
            model = self._normalize.meta["model"]
            facts |= {"model": str(model["name"]), "model_sha256": str(model["sha256"])}
        pictures = {name: read() for name, read in slide.associated().items()} if self.options.associated else {}
        if "thumbnail" in pictures and self._normalize is not None:  # it shows what level 0 does; the others do not
            pictures["thumbnail"] = self._normalize(pictures["thumbnail"])
        return Label(self.target.name, about.pixel_size_um, about.power, facts | self._facts, pictures)

    def _counted(self, tiles: Iterator[Tile], tell: Callable[[Rendering], None]) -> Iterator[Tile]:
        for tile in tiles:
            if self._stopped.is_set():
                raise _Stopped
            yield tile
            if tile.level == 0:
                self.done += 1
                tell(self)


class _Stopped(Exception):
    """Somebody called `stop`."""


def _inplace(normalize: Normalizer, pixels: RGB8) -> RGB8:
    return normalize(pixels, out=pixels)
