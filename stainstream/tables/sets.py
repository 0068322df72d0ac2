"""What tables are measured on: registered images with cases, and folders of labelled cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from stainstream.config import Settings, read
from stainstream.errors import UsageError
from stainstream.evaluation.pairs import Crop, Pair, match
from stainstream.frame import RGB8

__all__ = ["TILE", "CellSet", "Field", "Fold", "ImageSet", "Sets", "cut", "fields", "folds", "sets"]

TILE = 256
"""Height and width of the tiles that figures are means over, in pixels: the unit of the paper's later edition."""


class ImageSet(Settings, frozen=True, kw_only=True):
    """Registered images, as the source and as the target saw them: tables 1 and 2, figure 5."""

    name: str
    source: str
    """A folder whose sub-folders are cases, or whose files are, one each; or one file."""
    target: str
    """The same places, under the same names."""
    crop: str = "0,0,0,0"
    """Pixels to leave out: left,top,right,bottom."""
    translated: str = ""
    """What a StainGAN made of the sources, under the same names: the row StainGAN, and the students' teacher."""
    generator: str = ""
    """A StainGAN generator's checkpoint, in its place."""
    model: str = ""
    """A StainNet that was trained elsewhere: a checkpoint (.pth), or whatever ``--model`` takes."""


class CellSet(Settings, frozen=True, kw_only=True):
    """Labelled cells or patches of two centres, a sub-folder a class: table 3."""

    name: str
    train: str
    """The centre that the classifier learns from, and whose look the other's images are given."""
    test: str
    positive: list[str]
    """Names of the sub-folders, of either centre, that are positive; the others are negative."""
    cluster: str = r"^(.+)[-_]"
    """What of ``class/name`` tells the image that a cell was cut out of: a pattern with one group."""
    generator: str = ""
    """A StainGAN from the test centre to the other: a checkpoint, or a folder of ``stainstream train teacher``."""
    model: str = ""
    """A StainNet likewise; without it, a student of the generator is trained."""


class Sets(Settings, frozen=True, kw_only=True):
    """A file of sets: ``[[images]]`` and ``[[cells]]``."""

    images: list[ImageSet] = msgspec.field(default_factory=list)
    cells: list[CellSet] = msgspec.field(default_factory=list)


def sets(file: Path) -> Sets:
    """Read a file of sets.

    Raises
    ------
    UsageError
        If it is missing, or wrong.
    """
    return read(file, Sets)


@dataclass(frozen=True)
class Field:
    """A registered place."""

    name: str
    case: str
    source: RGB8
    target: RGB8
    translated: RGB8 | None
    """What a teacher made of it."""


@dataclass(frozen=True)
class Fold:
    """One case held out."""

    case: str
    tests: Sequence[Field]
    trains: Sequence[Field]
    """All other cases; the tests themselves, if there are none."""
    alone: bool
    """Whether there are none."""


def fields(chosen: ImageSet, data: Path) -> list[Field]:
    """Read the images of a set.

    Parameters
    ----------
    data
        Where relative paths begin.

    Raises
    ------
    StainstreamError
        If the images are not there, cannot be read, do not match, or are smaller than a tile.
    """
    others = {"translated": str(data / chosen.translated)} if chosen.translated else {}
    places = [data / chosen.source, data / chosen.target]
    for place in places:
        if not place.exists():
            raise UsageError(f"no images of {chosen.name}", f"{place.name} is not in {place.parent.name}")
    if not all(Path(each).exists() for each in others.values()):
        others = {}
    matched = match(str(places[0]), str(places[1]), others, Crop.parse(chosen.crop), recursive=True)
    return [_field(pair) for pair in matched.pairs]


def _field(pair: Pair) -> Field:
    source, target = pair.read(pair.source), pair.read(pair.target)
    translated = pair.read(pair.results["translated"]) if pair.results else None
    if any(each is not None and each.shape != source.shape for each in (target, translated)):
        raise UsageError(f"cannot compare {pair.name}", "its images differ in size")
    if min(source.shape[:2]) < TILE:
        raise UsageError(f"cannot use {pair.name}", f"it is smaller than a tile of {TILE}x{TILE}")
    return Field(pair.name, pair.name.partition("/")[0], source, target, translated)


def folds(given: Sequence[Field]) -> Iterator[Fold]:
    """Leave out one case after the other."""
    for case in dict.fromkeys(each.case for each in given):
        tests = [each for each in given if each.case == case]
        trains = [each for each in given if each.case != case]
        yield Fold(case, tests, trains or tests, not trains)


def cut(*images: RGB8, size: int = TILE) -> Iterator[tuple[RGB8, ...]]:
    """Tiles beside one another at the same places of several images of one size."""
    height, width = images[0].shape[:2]
    for top in range(0, height - size + 1, size):
        for left in range(0, width - size + 1, size):
            yield tuple(np.ascontiguousarray(each[top : top + size, left : left + size]) for each in images)
