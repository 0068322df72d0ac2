"""Pyramids: which tiles, in which order, of which pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stainstream as ss
from stainstream.slides.pyramid import Band, Plan, Tile, build, build_above, build_band


def joined(plan: Plan, image: ss.RGB8, threads: int) -> list[ss.RGB8]:
    """All levels, from tiles that are stored as they are; checks that each comes once and in order."""

    def cut(x: int, y: int, width: int, height: int) -> ss.RGB8:
        assert width > 0
        assert height > 0
        return image[y : y + height, x : x + width]

    levels = [np.zeros((height, width, 3), np.uint8) for width, height in plan.levels]
    expected = [
        itertools.product(range(rows), range(columns))
        for columns, rows in (plan.grid(level) for level in range(len(levels)))
    ]
    side = plan.tile
    for tile in build(plan, cut, lambda pixels: pixels.tobytes(), threads):
        assert next(expected[tile.level]) == (tile.row, tile.column)
        pixels = np.frombuffer(tile.data, np.uint8).reshape(side, side, 3)
        place = levels[tile.level][tile.row * side :, tile.column * side :][:side, :side]
        place[...] = pixels[: place.shape[0], : place.shape[1]]
        if place.shape[0] < side:
            assert np.array_equal(pixels[place.shape[0]], pixels[place.shape[0] - 1])
    assert all(next(rest, None) is None for rest in expected)
    return levels


@settings(max_examples=40)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 3), st.integers(1, 3))
def test_every_level_is_the_mean_of_the_one_below(width: int, height: int, half: int, threads: int) -> None:
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    plan = Plan(width, height, 16 * half)
    levels = joined(plan, image, threads)
    assert np.array_equal(levels[0], image)
    assert max(plan.levels[-1]) <= plan.tile or min(plan.levels[-1]) == 1
    for lower, upper in itertools.pairwise(levels):
        rows, columns = lower.shape[0] // 2, lower.shape[1] // 2
        assert upper.shape == (rows, columns, 3)
        blocks = lower[: 2 * rows, : 2 * columns].astype(float).reshape(rows, 2, columns, 2, 3)
        assert np.abs(blocks.mean(axis=(1, 3)) - upper).max() <= 0.5


@settings(max_examples=60)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 2), st.sampled_from([1, 2, 4, 8]))
def test_bands_make_the_tiles_of_the_whole(width: int, height: int, half: int, rows: int) -> None:
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    plan = Plan(width, height, 16 * half)

    def cut(x: int, y: int, width: int, height: int) -> ss.RGB8:
        return image[y : y + height, x : x + width]

    def order(tile: Tile) -> tuple[int, int, int]:
        return tile.level, tile.row, tile.column

    whole = list(build(plan, cut, lambda pixels: pixels.tobytes(), 1))
    bands = [Band(plan, rows, number) for number in range(-(-plan.grid(0)[1] // rows))]
    kept: list[ss.RGB8] = []
    made = []
    for band in bands:
        made += list(build_band(band, cut, lambda pixels: pixels.tobytes(), 2, kept.append))
        assert all(tile.level <= band.top for tile in made)
        assert kept[-1].shape[:2] == band.above[::-1]
    made += list(build_above(zip(bands, kept, strict=True), lambda pixels: pixels.tobytes(), 2))
    assert sorted(made, key=order) == sorted(whole, key=order)
    for level in range(len(plan.levels)):  # what is stored as it comes needs the same order in each level
        assert [each for each in made if each.level == level] == [each for each in whole if each.level == level]


def test_a_failing_tile_ends_it_with_its_error() -> None:
    def fail(x: int, y: int, width: int, height: int) -> ss.RGB8:
        if x:
            raise ss.StainstreamError("cannot decode")
        return np.zeros((height, width, 3), np.uint8)

    with pytest.raises(ss.StainstreamError, match="cannot decode"):
        list(build(Plan(64, 64, 16), fail, lambda pixels: b"", 2))
