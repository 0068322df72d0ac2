"""A pyramid made in one pass over its lowest level, as a whole or in bands."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from stainstream.frame import RGB8

__all__ = ["Band", "Plan", "Tile", "build", "build_above", "build_band"]

_AHEAD = 2  # tiles a thread that are begun before they are asked for

_Producer: TypeAlias = Callable[[int, int, int, int], RGB8]

_Made: TypeAlias = tuple[bytes, RGB8]


@dataclass(frozen=True, slots=True)
class Plan:
    """Of which tiles a pyramid consists. Level 0 is the largest, each other one half as wide and high, rounded down."""

    width: int
    height: int
    tile: int
    """Side of a tile in pixels, even."""

    @property
    def levels(self) -> list[tuple[int, int]]:
        """Width and height of each level, down to one that is a single tile."""
        sizes = [(self.width, self.height)]
        while max(sizes[-1]) > self.tile and min(sizes[-1]) > 1:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        return sizes

    def grid(self, level: int) -> tuple[int, int]:
        """How many columns and rows of tiles a level has."""
        width, height = self.levels[level]
        return -(-width // self.tile), -(-height // self.tile)

    @property
    def tiles(self) -> int:
        """How many tiles level 0 has."""
        columns, rows = self.grid(0)
        return columns * rows

    def place(self, column: int, row: int) -> tuple[int, int, int, int]:
        """Where a tile of level 0 lies: x, y, width, height; the last ones of a row or column may be smaller."""
        x, y = column * self.tile, row * self.tile
        return x, y, min(self.tile, self.width - x), min(self.tile, self.height - y)


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of tiles from edge to edge, which are made apart from the others."""

    plan: Plan
    rows: int
    """How many of level 0 each band has but the last, which may have fewer: a power of two."""
    number: int

    @property
    def top(self) -> int:
        """The highest level of which bands make whole tiles: one row each, if it is not the slide's last level."""
        return min(self.rows.bit_length() - 1, len(self.plan.levels) - 1)

    @property
    def lowest(self) -> range:
        """Its rows of tiles of level 0."""
        return range(self.number * self.rows, min((self.number + 1) * self.rows, self.plan.grid(0)[1]))

    @property
    def above(self) -> tuple[int, int]:
        """How many pixels wide and high its share is of the level above `top`; nothing where there is none."""
        if self.top + 1 == len(self.plan.levels):
            return 0, 0
        (width, height), side = self.plan.levels[self.top + 1], self.plan.tile // 2
        return width, max(0, min(side, height - self.number * side))


@dataclass(frozen=True, slots=True)
class Tile:
    """An encoded tile."""

    level: int
    column: int
    row: int
    data: bytes


def build(plan: Plan, produce: _Producer, encode: Callable[[RGB8], bytes], threads: int) -> Generator[Tile, None, None]:
    """Make all tiles of a pyramid: those of a level come row by row.

    Each tile of level 0 is produced, encoded and halved by one thread, while others are at other tiles. Halves are
    means of 2x2 pixels; they wait in one row of tiles a level, which is all that is held: ``3 * width * tile`` bytes.

    Parameters
    ----------
    produce
        Gives the pixels at x, y, width, height of level 0; called from several threads.
    encode
        Encodes a whole tile; what lies beyond the slide's edge repeats the edge.
    threads
        How many; they have ended when the generator is exhausted or closed.
    """
    yield from _lowest(_Builder(plan, encode), range(plan.grid(0)[1]), produce, threads)


def build_band(
    band: Band,
    produce: _Producer,
    encode: Callable[[RGB8], bytes],
    threads: int,
    keep: Callable[[RGB8], object],
) -> Generator[Tile, None, None]:
    """Make the tiles that one band of a pyramid has up to `Band.top`, as `build` makes them.

    Parameters
    ----------
    keep
        Called at the end with what `build_above` needs of this band: uint8 (height, width, 3) of `Band.above`.
    """
    builder = _Builder(band.plan, encode, band.top)
    yield from _lowest(builder, band.lowest, produce, threads)
    width, height = band.above
    y = band.number % 2 * (band.plan.tile // 2)
    keep(builder.waiting(band.top + 1)[y : y + height] if width else np.empty((0, 0, 3), np.uint8))


def build_above(
    bands: Iterable[tuple[Band, RGB8]], encode: Callable[[RGB8], bytes], threads: int
) -> Generator[Tile, None, None]:
    """Make the tiles above what bands have made, of all bands in order and what each kept."""
    pool = ThreadPoolExecutor(threads, "slide")
    builder: _Builder | None = None
    try:
        for band, kept in bands:
            builder = builder or _Builder(band.plan, encode)
            side, (columns, rows) = band.plan.tile // 2, band.plan.grid(band.top)
            for column in range(columns if band.number < rows else 0):
                half = kept[:, column * side : (column + 1) * side]
                yield from builder.rise(pool, band.top, column, band.number, half)
    finally:
        pool.shutdown(cancel_futures=True)


def _lowest(builder: _Builder, rows: range, produce: _Producer, threads: int) -> Generator[Tile, None, None]:
    places = ((column, row) for row in rows for column in range(builder.plan.grid(0)[0]))
    begun: deque[tuple[int, int, Future[_Made]]] = deque()
    pool = ThreadPoolExecutor(threads, "slide")
    try:
        for column, row in places:
            begun.append((column, row, pool.submit(builder.lowest, produce, builder.plan.place(column, row))))
            if len(begun) > _AHEAD * threads:
                yield from builder.take(pool, 0, *begun.popleft())
        while begun:
            yield from builder.take(pool, 0, *begun.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


class _Builder:
    """Encodes tiles, and joins their halves to the rows of the next level; of those above `top` it makes no tiles."""

    def __init__(self, plan: Plan, encode: Callable[[RGB8], bytes], top: int | None = None) -> None:
        self.plan, self._encode, self._top = plan, encode, top
        self._rows: dict[int, RGB8] = {}

    def lowest(self, produce: _Producer, place: tuple[int, int, int, int]) -> _Made:
        """A tile of level 0, encoded, and its half."""
        return self._made(produce(*place))

    def _made(self, pixels: RGB8) -> _Made:
        return self._encode(_whole(pixels, self.plan.tile)), _half(pixels)

    def take(self, pool: ThreadPoolExecutor, level: int, column: int, row: int, made: Future[_Made]) -> Iterator[Tile]:
        """Give a tile that was made, and the rows of tiles above it that are complete with it."""
        data, half = made.result()
        yield Tile(level, column, row, data)
        yield from self.rise(pool, level, column, row, half)

    def rise(self, pool: ThreadPoolExecutor, level: int, column: int, row: int, half: RGB8) -> Iterator[Tile]:
        """Take the half of a tile, and give the rows of tiles above it that are complete with it."""
        above, (columns, rows) = level + 1, self.plan.grid(level)
        if above == len(self.plan.levels):
            return
        side, height = self.plan.tile // 2, self.plan.levels[above][1]
        waiting = self.waiting(above)
        x, y = column * side, (row % 2) * side
        waiting[y : y + half.shape[0], x : x + half.shape[1]] = half
        if level != self._top and column == columns - 1 and (row % 2 or row == rows - 1):
            yield from self._row(pool, above, row // 2, waiting[: max(0, height - row // 2 * self.plan.tile)])

    def waiting(self, level: int) -> RGB8:
        """The row of tiles of a level that is being filled."""
        if level not in self._rows:
            self._rows[level] = np.empty((self.plan.tile, self.plan.levels[level][0], 3), np.uint8)
        return self._rows[level]

    def _row(self, pool: ThreadPoolExecutor, level: int, row: int, pixels: RGB8) -> Iterator[Tile]:
        if not len(pixels):
            return
        tile, width = self.plan.tile, self.plan.levels[level][0]
        begun = [pool.submit(self._made, pixels[:, x : x + tile]) for x in range(0, width, tile)]
        for column, each in enumerate(begun):
            yield from self.take(pool, level, column, row, each)


def _whole(pixels: RGB8, tile: int) -> RGB8:
    height, width, _ = pixels.shape
    if (height, width) == (tile, tile):
        return np.ascontiguousarray(pixels)
    return np.pad(pixels, ((0, tile - height), (0, tile - width), (0, 0)), mode="edge")


def _half(pixels: RGB8) -> RGB8:
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    if not height or not width:
        return np.empty((height, width, 3), np.uint8)
    even = np.ascontiguousarray(pixels[: 2 * height, : 2 * width])
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
