"""Slides that tifffile reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import zarr

from stainstream.errors import SourceError
from stainstream.frame import RGB8

from .base import About, Slide, on_white, unreadable

__all__ = ["Tiff"]

_PHOTOMETRICS = {"RGB", "YCBCR"}
_BROKEN = (tifffile.TiffFileError, OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError)
_BAND = 512  # rows
_UNITS_UM = {"INCH": 25_400.0, "CENTIMETER": 10_000.0, "MILLIMETER": 1_000.0, "MICROMETER": 1.0}


class Tiff(Slide):
    """By tifffile: the first image of an OME-TIFF or any other TIFF, where that is 8-bit RGB, tiled or in strips."""

    title = "tifffile"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._levels: list[Any] = []

    def _open(self) -> None:
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what goes wrong is said in our own errors
        try:
            self._file = tifffile.TiffFile(self.path)
            series = self._file.series[0]
            if (reason := _no_slide(series)) is None:
                self._levels = [
                    zarr.open(series.aszarr(level=level), mode="r", zarr_format=2)
                    for level in range(len(series.levels))
                ]
                self._about = _about(self._file, series)
        except _BROKEN as error:
            reason = f"it cannot read it: {error}"
        if reason is not None:
            raise SourceError(f"cannot read {self.path}", f"tifffile: {' '.join(reason.split())}")

    def read(self, x: int, y: int, width: int, height: int) -> RGB8:
        return self._region(0, x, y, width, height)

    def _region(self, level: int, x: int, y: int, width: int, height: int) -> RGB8:
        try:
            return on_white(np.asarray(self._levels[level][y : y + height, x : x + width]))
        except _BROKEN as error:
            raise unreadable(self.path, x, y, error) from error

    def thumbnail(self, longest: int) -> RGB8:
        fitting = [k for k, level in enumerate(self._levels) if max(level.shape[:2]) >= longest]
        level = fitting[-1] if fitting else 0
        height, width = self._levels[level].shape[:2]
        scale = min(1.0, longest / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bands, step = [], max(1, _BAND * size[1] // height)  # band by band: the level may not fit into memory
        for top in range(0, size[1], step):
            rows = min(step, size[1] - top)
            first, last = top * height // size[1], max((top + rows) * height // size[1], top * height // size[1] + 1)
            band = self._region(level, 0, first, width, last - first)
            bands.append(cv2.resize(band, (size[0], rows), interpolation=cv2.INTER_AREA))
        return np.concatenate(bands).astype(np.uint8)

    def associated(self) -> Mapping[str, Callable[[], RGB8]]:
        found: dict[str, Callable[[], RGB8]] = {}
        for series in self._file.series[1:]:
            if _no_slide(series) is None:
                name = str(series.name or series.keyframe.description or f"image{series.index}").strip().lower()
                found[name] = partial(self._associated, series)
        return found

    def _associated(self, series: Any) -> RGB8:
        try:
            return on_white(np.asarray(series.asarray()))
        except _BROKEN as error:
            raise SourceError(f"cannot read {self.path}", f"its picture {series.name!r}: {error}") from error


def _no_slide(series: Any) -> str | None:
    """Why this is no picture in RGB, or None."""
    kind, page = f"{series.axes} {series.dtype} of {'x'.join(map(str, series.shape))}", series.keyframe
    if series.axes == "YXS" and series.dtype == np.uint8 and series.shape[-1] in (3, 4):
        return None if page.photometric.name in _PHOTOMETRICS else f"it is {page.photometric.name}, not RGB"
    return f"its image is {kind} ({page.photometric.name}), not one of brightfield in 8-bit RGB"


def _about(file: Any, series: Any) -> About:
    page = series.keyframe
    return About(
        series.shape[1],
        series.shape[0],
        series.kind,
        _pixel_size(file, page),
        None,
        (page.tilewidth, page.tilelength) if page.is_tiled else None,
    )


def _pixel_size(file: Any, page: Any) -> tuple[float, float] | None:
    if file.is_ome and file.ome_metadata:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (pixels[0] if isinstance(pixels, list) else pixels)["Pixels"]
        size = [pixels.get(f"PhysicalSize{axis}") for axis in "XY"]
        units = {pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY"}
        if all(size) and units == {"µm"}:
            return float(size[0]), float(size[1])
    unit = _UNITS_UM.get(getattr(page.tags.get(296, None) and page.tags[296].value, "name", ""))
    per_unit = [page.tags[tag].value for tag in (282, 283) if tag in page.tags]
    if unit is None or len(per_unit) < 2 or any(not a or not b for a, b in per_unit):
        return None
    return unit * per_unit[0][1] / per_unit[0][0], unit * per_unit[1][1] / per_unit[1][0]
