"""Slides that cuCIM reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from stainstream.errors import SourceError
from stainstream.frame import RGB8

from .base import About, Slide, on_white, unreadable

__all__ = ["CuCIM"]

_BROKEN = (RuntimeError, ValueError, IndexError, OSError, TypeError, KeyError)


class CuCIM(Slide):
    """By RAPIDS cuCIM, on the processor: what OpenSlide and tifffile refused, where it is installed."""

    title = "cuCIM"

    def _open(self) -> None:
        from cucim import CuImage

        asked = f"cannot read {self.path}"
        try:
            self._file = CuImage(str(self.path))
            if self._file.dtype.bits != 8 or self._file.channel_names[:3] != ["R", "G", "B"]:
                raise SourceError(asked, f"cuCIM: it has the channels {self._file.channel_names}, not 8-bit RGB")
            self._about = self._describe()
        except _BROKEN as error:
            raise SourceError(asked, f"cuCIM: {' '.join(str(error).split())}") from error

    def _describe(self) -> About:
        width, height = self._file.resolutions["level_dimensions"][0]
        size, units = self._file.spacing("XY"), self._file.spacing_units("XY")
        tile = self._file.resolutions.get("level_tile_sizes", [(0, 0)])[0]
        um = (float(size[0]), float(size[1])) if set(units) == {"micrometer"} else None
        return About(int(width), int(height), "cucim", um, None, (int(tile[0]), int(tile[1])) if all(tile) else None)

    def read(self, x: int, y: int, width: int, height: int) -> RGB8:
        try:
            return on_white(np.asarray(self._file.read_region((x, y), (width, height), 0)))
        except _BROKEN as error:
            raise unreadable(self.path, x, y, error) from error

    def thumbnail(self, longest: int) -> RGB8:
        import cv2

        sizes = self._file.resolutions["level_dimensions"]
        level = max((k for k, size in enumerate(sizes) if max(size) >= longest), default=0)
        try:
            whole = on_white(np.asarray(self._file.read_region((0, 0), sizes[level], level)))
        except _BROKEN as error:
            raise unreadable(self.path, 0, 0, error) from error
        scale = min(1.0, longest / max(sizes[level]))
        size = tuple(max(1, round(side * scale)) for side in sizes[level])
        return np.ascontiguousarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)

    def associated(self) -> Mapping[str, Callable[[], RGB8]]:
        return {name: partial(self._associated, name) for name in self._file.associated_images}

    def _associated(self, name: str) -> RGB8:
        return on_white(np.asarray(self._file.associated_image(name)))
