"""Slides made for the tests, and what comes out read again by other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import tifffile
import zarr

import stainstream as ss
from tests.normalizers.tiles import LOW_TISSUE, demo

SIZE = (700, 500)
"""Width and height of `write`'s slide."""


def content() -> ss.RGB8:
    """Tissue on the left, glass on the right."""
    glass = np.resize(LOW_TISSUE["glass"], (500, 250, 3))
    return np.ascontiguousarray(np.hstack([demo(size=512)[:500, :450], glass]))


def write(path: Path, tile: int = 64) -> Path:
    """A slide that OpenSlide calls generic, lossless, with a size of pixels."""
    tifffile.imwrite(
        path,
        content(),
        tile=(tile, tile),
        photometric="rgb",
        compression="adobe_deflate",
        resolution=(40000, 40000),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    return path


def by_openslide(path: Path, level: int = 0) -> ss.RGB8:
    """A level as OpenSlide gives it."""
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB"))


def by_tifffile(path: Path, level: int = 0) -> ss.RGB8:
    """A level as tifffile gives it."""
    with tifffile.TiffFile(path) as file:
        return np.asarray(file.series[0].levels[level].asarray())


def by_zarr(path: Path, level: int = 0) -> ss.RGB8:
    """A level as zarr-python gives it."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(zarr.open_group(path, mode="r")[str(level)]), 0, -1))
