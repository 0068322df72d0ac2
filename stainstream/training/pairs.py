"""What a student learns from: source images, and what a teacher made of each."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stainstream.color.convert import to_rgb8
from stainstream.color.lut import quantize
from stainstream.errors import ModelError, SourceError, StainstreamError, UsageError
from stainstream.frame import RGB8
from stainstream.normalizers import TABLE as METHODS
from stainstream.sources.image import read_image

from . import tiles
from .checkpoint import read_tensors
from .networks import ResnetGenerator
from .run import RUN, command, read_run
from .translate import steady, translate

__all__ = ["Pairs", "cut", "mean", "of", "rest"]

_log = logging.getLogger(__name__)

_TILE = 256  # of teachers that do not say what they were trained on
_LARGE = 1024  # pixels a side that a teacher of fixed statistics is given at once
_SETTLING = 32  # tiles for these statistics


@dataclass(frozen=True)
class Pairs:
    """Images before and after the teacher."""

    given: list[RGB8]
    wanted: list[RGB8]
    teacher: str
    """What it was, in words."""
    skipped: int = 0
    """Files that could not be used."""
    command: str = ""
    """What made the teacher, if that is known."""


def of(teachers: Sequence[str], source: Sequence[Path], target: Sequence[Path], size: int) -> Pairs:
    """Pair the images of `source` with the mean of what `teachers` make of them.

    What differs from teacher to teacher, by the chance of its training, averages out.

    Parameters
    ----------
    teachers
        One or several, each a generator's checkpoint, the folder that ``stainstream train teacher`` wrote, a folder of
        images that a teacher has translated already (named as in `source`), or a classic method's name.
    target
        For a classic method: folders of how it shall look.
    size
        Height and width that images must have at least.

    Raises
    ------
    UsageError, ModelError
        If there is no such teacher, or it fits none of the images, or several teachers fit different ones.
    """
    taught = [_by(each, source, target, size) for each in teachers]
    return taught[0] if len(taught) == 1 else _together(teachers, taught)


def mean(images: Sequence[RGB8]) -> RGB8:
    """The mean of equally large images, each pixel rounded once."""
    return quantize(np.mean([each / 255.0 for each in images], axis=0))


def _by(teacher: str, source: Sequence[Path], target: Sequence[Path], size: int) -> Pairs:
    """Pairs by one teacher."""
    path = Path(teacher)
    if (path / RUN).is_file():
        return _translated(path, source, size)
    if path.is_dir():
        return _read(path, source, size)
    if path.is_file():
        side = tiles.read(source, size)
        network = _generator(path)
        return _mapped(lambda image: translate(network, image, _TILE), side, f"the generator {path.name}")
    if teacher not in {row.name for row in METHODS}:
        known = ", ".join(row.name for row in METHODS)
        raise UsageError(f"no teacher {teacher!r}", "it is no file, no folder and no method", f"known methods: {known}")
    return _method(teacher, source, target, size)


def cut(pairs: Pairs, size: int, seed: int, held: float) -> tuple[list[tuple[RGB8, RGB8]], list[tuple[RGB8, RGB8]]]:
    """Cut tiles that lie beside one another out of the pairs: those to learn from, and the share `held` to test on."""
    cuts = [
        (given[top : top + size, left : left + size], wanted[top : top + size, left : left + size])
        for given, wanted in zip(pairs.given, pairs.wanted, strict=True)
        for top in range(0, given.shape[0] - size + 1, size)
        for left in range(0, given.shape[1] - size + 1, size)
    ]
    order = np.random.default_rng(seed).permutation(len(cuts))
    tested = max(1, round(held * len(cuts)))
    if tested >= len(cuts):
        raise UsageError(
            "cannot train on so little",
            f"the images hold {len(cuts)} tiles of {size}x{size} pixels, and {tested} of them are for testing",
            "give more or larger images, or a smaller --tile",
        )
    return [cuts[k] for k in order[tested:]], [cuts[k] for k in order[:tested]]


def rest(pairs: Pairs, size: int) -> list[tuple[RGB8, RGB8]]:
    """What `cut` leaves over of the images: strips at the right and at the bottom, of less than `size` pixels."""
    strips = []
    for given, wanted in zip(pairs.given, pairs.wanted, strict=True):
        height, width = (side // size * size for side in given.shape[:2])
        strips += [(given[:height, width:], wanted[:height, width:]), (given[height:], wanted[height:])]
    return [strip for strip in strips if strip[0].size]


def _together(teachers: Sequence[str], taught: Sequence[Pairs]) -> Pairs:
    """Pairs whose wanted images are the mean of several teachers'."""
    first = taught[0]
    for name, other in zip(teachers[1:], taught[1:], strict=True):
        if not _same(first.given, other.given):
            raise UsageError(
                f"cannot take the mean of {teachers[0]} and {name}",
                f"they pair different images, {len(first.given)} and {len(other.given)} of them",
                "leave the images that the warnings name out of the source, or teachers that do not fit all of it",
            )
    wanted = [mean(images) for images in zip(*(pairs.wanted for pairs in taught), strict=True)]
    counts = Counter(pairs.teacher for pairs in taught)
    words = "; ".join(f"{count} x {word}" if count > 1 else word for word, count in counts.items())
    done = dict.fromkeys(pairs.command for pairs in taught if pairs.command)
    skipped = max(pairs.skipped for pairs in taught)
    return Pairs(first.given, wanted, f"the mean of {len(taught)} teachers ({words})", skipped, " && ".join(done))


def _same(images: Sequence[RGB8], others: Sequence[RGB8]) -> bool:
    return len(images) == len(others) and all(map(np.array_equal, images, others))


def _translated(folder: Path, source: Sequence[Path], size: int) -> Pairs:
    """By our own teacher, in tiles of the size that it was trained on.

    If these were put together of pieces, images are translated at once, with the statistics of such tiles.
    """
    run = read_run(folder)
    network = _generator(folder / run.generator)
    chosen = run.settings
    side = tiles.read(source, max(size, chosen.tile))
    tile = chosen.tile
    if chosen.collage > 1:
        rng = np.random.default_rng(chosen.seed)
        larger, tile = 2, _LARGE
        steady(
            network,
            (side.tile(rng, larger * chosen.tile, pieces=larger * chosen.collage) for _ in range(_SETTLING)),
        )
    words = f"our StainGAN, {chosen.blocks} blocks of width {4 * chosen.filters}, {run.steps} steps"
    taught = _mapped(lambda image: translate(network, image, tile), side, words)
    return replace(taught, command=command(run, folder))


def _generator(path: Path) -> ResnetGenerator:
    try:
        return ResnetGenerator.of(read_tensors(path))
    except (RuntimeError, IndexError, TypeError) as error:
        raise ModelError(f"cannot use {path}", f"it is not a StainGAN generator's checkpoint: {error}") from error


def _mapped(teach: Callable[[RGB8], RGB8], side: tiles.Side, words: str) -> Pairs:
    given = side.images()
    return Pairs(given, [teach(image) for image in given], words, side.skipped)


def _method(name: str, source: Sequence[Path], target: Sequence[Path], size: int) -> Pairs:
    if not target:
        raise UsageError(f"cannot fit {name}", "it needs images of how it shall look", "add --target DIR")
    side, goal = tiles.read(source, size), tiles.read(target, 1)
    fitted = METHODS[name].load().fit(side.images(), goal.images(), profile="stream")
    return _mapped(lambda image: quantize(fitted(image / 255.0)), side, f"{name}, fitted to both sides")


def _read(folder: Path, source: Sequence[Path], size: int) -> Pairs:
    """Pairs of files of one name, whatever their kinds; what has no partner is named, counted and left out."""
    done = {path.stem: path for path in tiles.find(folder)}
    given, wanted, skipped = [], [], 0
    for path in (path for each in source for path in tiles.find(each)):
        try:
            if path.stem not in done:
                raise SourceError(f"cannot use {path}", f"{folder} holds no image of that name")
            before, after = _rgb(path), _rgb(done[path.stem])
            if before.shape != after.shape or min(before.shape[:2]) < size:
                shapes = " and ".join(f"{each.shape[1]}x{each.shape[0]}" for each in (before, after))
                raise SourceError(f"cannot use {path}", f"it and its translation are {shapes} pixels, tiles {size}")
            given.append(before)
            wanted.append(after)
        except StainstreamError as error:
            skipped += 1
            _log.warning("left out: %s", error)
    if skipped:
        _log.warning("left out %d files", skipped)
    if not given:
        raise UsageError(
            f"cannot learn from {folder}",
            "none of its images has a partner of the same name and size in the source",
            "give the folder that holds the translations of exactly these images",
        )
    return Pairs(given, wanted, f"translated tiles in {folder.name}", skipped)


def _rgb(path: Path) -> RGB8:
    frame = read_image(path)
    return to_rgb8(frame.image, frame.format)
