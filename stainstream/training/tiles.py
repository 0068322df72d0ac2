"""Tiles to train on, cut out of images of any size and out of slides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from stainstream.color.convert import to_rgb8
from stainstream.config import settings
from stainstream.errors import SourceError, StainstreamError, UsageError
from stainstream.frame import RGB8
from stainstream.sources import TABLE as SOURCES
from stainstream.sources.files import natural
from stainstream.sources.image import SUFFIXES, read_image

__all__ = ["Side", "find", "read"]

_log = logging.getLogger(__name__)

_SLIDES = frozenset({".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu"})
_FIELD, _FIELDS = 512, 32  # pixels of a slide's field at least, and how many are taken
_TISSUE = 0.3  # of a field at least


@dataclass(frozen=True)
class Side:
    """The images of one side, folder by folder.

    Tiles come from each folder equally often, and within a folder from each pixel: a centre of few images weighs as
    much as one of many.
    """

    folders: tuple[tuple[RGB8, ...], ...]
    """uint8 (height, width, 3) each."""
    skipped: int = 0
    """Files that could not be used."""

    def images(self) -> list[RGB8]:
        """All of them."""
        return [image for folder in self.folders for image in folder]

    def count(self, size: int) -> int:
        """How many tiles of `size` pixels lie beside one another in the images."""
        return sum((image.shape[0] // size) * (image.shape[1] // size) for image in self.images())

    def tile(self, rng: np.random.Generator, size: int, *, pieces: int = 1, symmetries: bool = True) -> RGB8:
        """A random tile of `size` x `size` pixels.

        Parameters
        ----------
        pieces
            Of how many pieces in a row, and as many rows, from anywhere, the tile is put together.
        symmetries
            Whether they are turned and mirrored at random.
        """
        if pieces > 1:
            side, more = size // pieces, range(pieces)
            rows = [np.hstack([self.tile(rng, side, symmetries=symmetries) for _ in more]) for _ in more]
            return np.vstack(rows)
        folder = self.folders[rng.integers(len(self.folders))]
        places = np.array([(image.shape[0] - size + 1) * (image.shape[1] - size + 1) for image in folder], np.float64)
        image = folder[rng.choice(len(folder), p=places / places.sum())]
        top, left = (int(rng.integers(side - size + 1)) for side in image.shape[:2])
        tile = image[top : top + size, left : left + size]
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        if not symmetries:
            return tile
        tile = np.rot90(tile, turns)
        return tile[:, ::-1] if mirrored else tile


def find(folder: Path) -> list[Path]:
    """The image and slide files in `folder` and its folders, in natural order.

    Raises
    ------
    UsageError
        If there are none.
    """
    try:
        inside = [path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise UsageError(f"cannot read {folder}", error.strerror or str(error)) from error
    found = [path for path in inside if path.suffix.lower() in SUFFIXES | _SLIDES]
    if not found:
        missing = "there is no such folder" if not folder.is_dir() else "the folder holds no images and no slides"
        raise UsageError(f"cannot train on {folder}", missing, "give a folder of PNG, JPEG, TIFF or slide files")
    return sorted(found, key=natural)


def read(folders: Sequence[Path], size: int) -> Side:
    """Read every image of `folders`, and fields of tissue out of every slide.

    Files that cannot be read, or are smaller than a tile, are named in the log, counted and left out.

    Parameters
    ----------
    size
        Height and width in pixels of the tiles that will be cut.

    Raises
    ------
    UsageError
        If a folder holds nothing that can be used.
    """
    sides, skipped = [], 0
    for folder in folders:
        images: list[RGB8] = []
        for path in find(folder):
            try:
                images += _images(path, size)
            except StainstreamError as error:
                skipped += 1
                _log.warning("left out: %s", error)
        if not images:
            raise UsageError(
                f"cannot train on {folder}",
                f"none of its files holds a tile of {size}x{size} pixels",
                "give larger images, or a smaller --tile",
            )
        sides.append(tuple(images))
    if skipped:
        _log.warning("left out %d files", skipped)
    return Side(tuple(sides), skipped)


def _images(path: Path, size: int) -> list[RGB8]:
    if path.suffix.lower() in _SLIDES:
        return _fields(path, max(size, _FIELD))
    frame = read_image(path)
    image = to_rgb8(frame.image, frame.format)
    if min(image.shape[:2]) < size:
        raise SourceError(f"cannot use {path}", f"{image.shape[1]}x{image.shape[0]} pixels hold no tile of {size}")
    return [image]


def _fields(path: Path, size: int) -> list[RGB8]:
    """Fields of tissue from all over a slide, at full resolution; the same ones each time."""
    kind = SOURCES["slide"].load()
    options = settings({"tile": size, "order": "scatter", "tissue": _TISSUE}, kind.Options, str(path))
    with kind(str(path), options) as slide:
        return [np.ascontiguousarray(frame.image) for frame in islice(slide, _FIELDS)]
