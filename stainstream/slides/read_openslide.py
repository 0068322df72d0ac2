"""Slides that OpenSlide reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import openslide

from stainstream.errors import SourceError
from stainstream.frame import RGB8

from .base import About, Slide, on_white, unreadable

__all__ = ["OpenSlide"]

_FILE_ERRORS = (openslide.OpenSlideError, OSError)
_CACHE_BYTES = 64 << 20


class OpenSlide(Slide):
    """By OpenSlide: Aperio, Hamamatsu, Leica, MIRAX, Philips, Sakura, Trestle, Ventana, Zeiss, DICOM, generic TIFF."""

    title = "OpenSlide"

    def _open(self) -> None:
        try:
            self._file = openslide.OpenSlide(self.path)
            self._file.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
            self._about = _about(self._file)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SourceError(f"cannot read {self.path}", "OpenSlide cannot read it: no format it knows") from error
        except _FILE_ERRORS as error:
            raise SourceError(f"cannot read {self.path}", f"OpenSlide cannot read it: {error}".strip(": ")) from error

    def read(self, x: int, y: int, width: int, height: int) -> RGB8:
        try:
            return on_white(self._file.read_region((x, y), 0, (width, height)))
        except _FILE_ERRORS as error:
            raise unreadable(self.path, x, y, error) from error

    def thumbnail(self, longest: int) -> RGB8:
        try:
            return on_white(self._file.get_thumbnail((longest, longest)))
        except _FILE_ERRORS as error:
            raise unreadable(self.path, 0, 0, error) from error

    def associated(self) -> Mapping[str, Callable[[], RGB8]]:
        return {name: partial(self._associated, name) for name in self._file.associated_images}

    def _associated(self, name: str) -> RGB8:
        try:
            return on_white(self._file.associated_images[name])
        except _FILE_ERRORS as error:
            raise SourceError(f"cannot read {self.path}", f"its picture {name!r}: {error}") from error


def _about(slide: Any) -> About:
    found = dict(slide.properties)
    size = [_number(found.get(key)) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)]
    tile = [_number(found.get(f"openslide.level[0].tile-{side}")) for side in ("width", "height")]
    width, height = slide.dimensions
    return About(
        width,
        height,
        found.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        (size[0], size[1]) if size[0] and size[1] else None,
        _number(found.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        (int(tile[0]), int(tile[1])) if tile[0] and tile[1] else None,
        found.get(openslide.PROPERTY_NAME_QUICKHASH1, ""),
        found,
    )


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d*)?([eE][-+]?\d+)?", text) else None
