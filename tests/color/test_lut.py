"""Tables and how levels become bytes."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stainstream.color.lut import COLORS, Colors, Lut, Rounding, bake, colors_of, index_of, quantize
from stainstream.errors import ModelError


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_every_level_stays_what_it_is(rounding: Rounding) -> None:
    levels = np.arange(256)
    assert quantize(levels / 255.0, rounding).tolist() == levels.tolist()


def test_halves_go_to_the_even_level() -> None:
    halves = (np.arange(255) + 0.5) / 255.0
    assert quantize(halves).tolist() == [level + level % 2 for level in range(255)]
    assert quantize(halves, "truncate").tolist() == list(range(255))


@given(st.integers(-2048, 4096), st.sampled_from(["nearest", "truncate"]))
def test_a_level_is_that_of_exact_arithmetic(parts: int, rounding: Rounding) -> None:
    level = Fraction(min(max(parts, 0), 2048), 2048) * 255
    wanted = round(level) if rounding == "nearest" else int(level)
    assert quantize(np.array([parts / 2048]), rounding).tolist() == [wanted]


@pytest.mark.parametrize("color", [-1.0, -1e-9, -np.inf])
def test_below_black_is_black(color: float) -> None:
    assert quantize(np.array(color), "nearest") == quantize(np.array(color), "truncate") == 0


@pytest.mark.parametrize("color", [1.0, 1.1, 300.0, np.inf])
def test_above_white_is_white(color: float) -> None:
    assert quantize(np.array(color), "nearest") == quantize(np.array(color), "truncate") == 255


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_shape_stays_and_the_type_is_uint8(dtype: type[np.floating]) -> None:
    assert quantize(np.zeros((2, 3, 3), dtype)).shape == (2, 3, 3)
    assert quantize(np.zeros((2, 3, 3), dtype)).dtype == np.uint8


def test_the_index_is_the_three_bytes_read_as_a_little_endian_number() -> None:
    assert index_of(np.array([1, 2, 3], np.uint8)) == 0x030201
    assert colors_of(np.array([0x030201], np.uint32)).tolist() == [[1, 2, 3]]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0).map(lambda shape: (*shape, 3))))
def test_index_and_color_are_inverse(rgb: NDArray[np.uint8]) -> None:
    index = index_of(rgb)
    assert index.shape == rgb.shape[:-1]
    assert index.dtype == np.uint32
    np.testing.assert_array_equal(colors_of(index), rgb)
    np.testing.assert_array_equal(index_of(rgb[::-1] if rgb.ndim > 1 else rgb), index[::-1] if index.ndim else index)


@pytest.mark.parametrize(
    "table",
    [np.zeros(COLORS, np.int32), np.zeros(COLORS - 1, np.uint32), np.zeros((COLORS, 1), np.uint32)],
    ids=["int32", "short", "2-D"],
)
def test_a_table_of_another_shape_or_type_is_refused(table: NDArray[np.uint32]) -> None:
    with pytest.raises(ModelError, match=r"table 'x' is .*: it must be uint32\[16777216\]"):
        Lut(table, "x")


def test_a_table_is_read_only_and_its_digest_that_of_its_bytes() -> None:
    lut = Lut(np.arange(COLORS, dtype=np.uint32), "identity")
    with pytest.raises(ValueError, match="read-only"):
        lut.table[0] = 1
    assert lut.digest == hashlib.sha256(np.arange(COLORS, dtype="<u4").tobytes()).hexdigest()


def _swapped(rgb: Colors) -> Colors:
    return rgb[..., ::-1]


def test_baking_asks_for_every_color_once() -> None:
    lut = bake(_swapped, "swapped")
    assert lut.name == "swapped"
    colors = np.arange(COLORS, dtype=np.uint32)
    assert np.array_equal(lut.table, colors >> 16 | (colors & 0x00FF00) | (colors & 0xFF) << 16)


@pytest.mark.parametrize(("rounding", "level"), [("nearest", 4), ("truncate", 3)])
def test_baking_rounds_as_told(rounding: Rounding, level: int) -> None:
    lut = bake(lambda rgb: np.full_like(rgb, 3.7 / 255.0), "gray", rounding, threads=2)
    assert (lut.table == level * 0x010101).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_method_that_gives_no_number_is_refused_with_the_color(bad: float) -> None:
    def odd(rgb: Colors) -> Colors:
        return np.where((rgb * 255 == [7, 200, 91]).all(axis=-1, keepdims=True), bad, rgb)

    with pytest.raises(ModelError, match=r"cannot bake 'odd': it gives no number for the color \[7, 200, 91\]"):
        bake(odd, "odd")


def test_a_method_that_divides_by_zero_is_refused_without_a_warning() -> None:
    with pytest.raises(ModelError, match="it gives no number"):
        bake(lambda rgb: rgb / np.zeros(3), "divides")


class _Sketched:
    """A map with a draft that is off by up to `error` levels."""

    def __init__(self, error: float) -> None:
        self.error, self.asked = error, 0

    def __call__(self, rgb: Colors) -> Colors:
        self.asked += len(rgb)
        return np.asarray(0.9 * rgb[:, ::-1] * rgb + 0.07)

    def draft(self, rgb: Colors) -> Colors:
        assert rgb.dtype == np.float32
        noise = np.random.default_rng(int(rgb.sum())).uniform(-self.error / 255.0, self.error / 255.0, rgb.shape)
        known = rgb[:, :1] * 255.0 != 77.0
        return np.where(known, 0.9 * rgb[:, ::-1] * rgb + 0.07 + noise, np.nan).astype(np.float32)


@pytest.mark.parametrize(
    ("error", "asked", "rounding"), [(1e-4, 0.02, "nearest"), (2e-3, 0.3, "truncate"), (10.0, 1.1, "nearest")]
)
def test_a_draft_saves_work_and_changes_no_color(error: float, asked: float, rounding: Rounding) -> None:
    method = _Sketched(error)
    lut = bake(method, "sketched", rounding)
    assert method.asked < asked * COLORS
    words = np.arange(0, COLORS, 3, dtype=np.uint32)
    exact = index_of(quantize(method(colors_of(words) / 255.0), rounding))
    np.testing.assert_array_equal(lut.table[words], exact)


def test_what_is_called_between_can_end_the_baking() -> None:
    calls = iter([1, 1, 0])
    with pytest.raises(ZeroDivisionError):
        bake(_Sketched(1e-4), "ended", threads=1, between=lambda: 1 / next(calls))
