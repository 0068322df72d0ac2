"""One slide from one file to another."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stainstream.api import Normalizer
from stainstream.errors import SinkError, UsageError
from stainstream.slides import WRITERS
from stainstream.slides.encoding import encoder
from stainstream.slides.opening import open_slide
from stainstream.slides.pyramid import Tile, build

from .part import whole
from .recipe import SlideOptions, label_of, plan_of, producer_of

__all__ = ["Made", "Rendering", "SlideOptions"]


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
    ) -> None:
        self.source, self.target, self.options = source, target, options or SlideOptions()
        self._normalize, self._threads = normalize, threads or os.cpu_count() or 1
        self._kind = WRITERS.serving(target.name).load()
        self._encoding = self._kind.encoding_for(self.options.compression, self.options.quality, target.name)
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
            plan = plan_of(slide, self.options)
            self.tiles, self.done = plan.tiles, 0
            try:
                encode = encoder(self._encoding, predict=self._kind.predicts)
                produce = producer_of(slide, self._normalize, self.options)
                label = label_of(slide, self.target, self._normalize, self.options)
                with (
                    whole(self.target) as part,  # around the tiles: the slide is not closed while threads read it
                    contextlib.closing(build(plan, produce, encode, self._threads)) as tiles,
                ):
                    self._kind(part, plan, self._encoding, label).write(self._counted(tiles, tell))
            except _Stopped:
                return None
            except OSError as error:
                raise SinkError(f"cannot write {self.target}", error.strerror or str(error)) from error
        return Made(plan.tiles, time.monotonic() - began, plan.width, plan.height)

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
