"""Pairs of images of one place: as the source saw it, and as the target did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stainstream.color.convert import to_rgb8
from stainstream.errors import FrameError, UsageError
from stainstream.frame import RGB8
from stainstream.sources.files import find_images, natural
from stainstream.sources.image import read_image

__all__ = ["Crop", "Pair", "Pairs", "match"]


@dataclass(frozen=True, slots=True)
class Crop:
    """Pixels to leave out at each side of an image."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read ``left,top,right,bottom``.

        Raises
        ------
        UsageError
            If it is not that.

        Examples
        --------
        >>> Crop.parse("16,16,32,32")
        Crop(left=16, top=16, right=32, bottom=32)
        """
        if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6}){3}", text):
            raise UsageError(f"cannot crop by {text!r}", "it is not left,top,right,bottom in pixels, as in 16,16,32,32")
        return cls(*map(int, text.split(",")))

    def __call__(self, image: RGB8) -> RGB8:
        """The rest of an image.

        Raises
        ------
        FrameError
            If there is none.
        """
        height, width = image.shape[:2]
        rest = image[self.top : height - self.bottom, self.left : width - self.right]
        if rest.size == 0 or self.top + self.bottom >= height or self.left + self.right >= width:
            raise FrameError(f"cannot crop an image of {width}x{height} by {self}", "nothing is left")
        return np.ascontiguousarray(rest)


@dataclass(frozen=True)
class Pair:
    """Where the images of one place are."""

    name: str
    source: Path
    target: Path
    results: Mapping[str, Path]
    """What others made of the source, by their name."""
    crop: Crop = Crop()

    def read(self, path: Path) -> RGB8:
        """One of its images, cropped.

        Raises
        ------
        SourceError, FrameError
            If it cannot be read, or nothing is left of it.
        """
        frame = read_image(path)
        return self.crop(to_rgb8(frame.image, frame.format))


@dataclass(frozen=True)
class Pairs:
    """What was matched."""

    pairs: Sequence[Pair]
    alone: Sequence[Path]
    """Files without a counterpart."""


def match(
    source: str, target: str, results: Mapping[str, str], crop: Crop = Crop(), *, recursive: bool = False
) -> Pairs:
    """Match files by their names without suffixes, below the folders that are given; two single files are a pair.

    Parameters
    ----------
    source, target
        Folders, files or patterns of images.
    results
        The same, of what others made of the sources, by their name.

    Raises
    ------
    SourceError
        If one of them holds no image.
    UsageError
        If two files of one folder have the same name, or nothing matches.
    """
    given = {"source": source, "target": target} | {f"result {name}": each for name, each in results.items()}
    paths = {side: find_images(place, recursive=recursive) for side, place in given.items()}
    if all(Path(place).is_file() for place in given.values()):
        named = {side: {paths["source"][0].stem: each[0]} for side, each in paths.items()}
    else:
        named = {side: _by_name(each, Path(given[side])) for side, each in paths.items()}
    shared = set.intersection(*(set(each) for each in named.values()))
    if not shared:
        examples = " and ".join(str(next(iter(named[side].values()))) for side in ("source", "target"))
        raise UsageError("cannot evaluate", f"no file's name occurs on all sides, for example {examples}")
    pairs = [
        Pair(
            name,
            named["source"][name],
            named["target"][name],
            {result: named[f"result {result}"][name] for result in results},
            crop,
        )
        for name in named["source"]
        if name in shared
    ]
    alone = [path for each in named.values() for name, path in each.items() if name not in shared]
    return Pairs(pairs, sorted(alone, key=natural))


def _by_name(paths: Sequence[Path], place: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        inside = path.relative_to(place) if place.is_dir() else Path(path.name)
        other = named.setdefault(inside.with_suffix("").as_posix(), path)
        if other != path:
            raise UsageError("cannot match images by their names", f"{other} and {path} differ in the suffix only")
    return named
