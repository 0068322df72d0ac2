"""From every pixel format to RGB8, against plain NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stainstream.color.convert import to_rgb8
from stainstream.errors import FrameError
from stainstream.frame import RGB8, PixelFormat

FORMATS = list(PixelFormat)
BAYER = [each for each in FORMATS if each.is_bayer]
EXACT = [each for each in FORMATS if not each.is_bayer and each is not PixelFormat.YUV422_8]


def _noise(format: PixelFormat, height: int, width: int, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 1 << format.bits, format.shape(height, width), format.dtype)


def _expected(image: NDArray[Any], format: PixelFormat) -> RGB8:
    """What a format that needs no interpolation means, pixel by pixel."""
    height, width = format.size(image.shape)
    rgb = np.zeros((height, width, 3), np.uint8)
    letters = format.value.rstrip("0123456789").removesuffix("_Planar")
    letters = letters.rstrip("0123456789")
    for y, x, k in itertools.product(range(height), range(width), range(3)):
        if format.planar:
            value = image[k, y, x]
        elif letters == "Mono":
            value = image[y, x]
        else:
            value = image[y, x, letters.index("RGB"[k])]
        rgb[y, x, k] = int(value) >> (format.bits - 8)
    return rgb


def _color_at(format: PixelFormat, y: int, x: int) -> int:
    """Which of red, green and blue the pixel measures: PFNC's name tells the first two of the first row."""
    rows = {"RG": "RG GB", "GR": "GR BG", "GB": "GB RG", "BG": "BG GR"}[format.order.removeprefix("Bayer")].split()
    return "RGB".index(rows[y % 2][x % 2])


def _mosaic(format: PixelFormat, rgb: NDArray[Any]) -> NDArray[Any]:
    """What a camera with this color filter array measures of an image."""
    height, width, _ = rgb.shape
    seen = [[rgb[y, x, _color_at(format, y, x)] for x in range(width)] for y in range(height)]
    return np.array(seen).astype(format.dtype) << (format.bits - 8)


def _bilinear(image: NDArray[Any], format: PixelFormat, y: int, x: int, color: int) -> float:
    """Mean of the nearest pixels that measured `color`."""
    nearby = [
        (abs(v) + abs(u), float(image[y + v, x + u]))
        for v, u in itertools.product((-1, 0, 1), repeat=2)
        if _color_at(format, y + v, x + u) == color
    ]
    nearest = min(distance for distance, _ in nearby)
    return float(np.mean([value for distance, value in nearby if distance == nearest]))


@pytest.mark.parametrize("format", EXACT, ids=lambda each: str(each.value))
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (2, 2), (5, 9)])
def test_what_needs_no_interpolation_is_exact(format: PixelFormat, height: int, width: int) -> None:
    image = _noise(format, height, width)
    before = image.copy()
    rgb = to_rgb8(image, format)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, _expected(before, format))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("format", EXACT, ids=lambda each: str(each.value))
def test_black_and_white_keep_their_levels(format: PixelFormat) -> None:
    for value, level in ((0, 0), ((1 << format.bits) - 1, 255)):
        assert (to_rgb8(np.full(format.shape(3, 4), value, format.dtype), format) == level).all()


@pytest.mark.parametrize("format", BAYER, ids=lambda each: str(each.value))
def test_a_mosaic_of_one_color_is_that_color_to_the_last_pixel(format: PixelFormat) -> None:
    for height, width in [*itertools.product((2, 3, 4, 5), repeat=2), (2, 33), (33, 2)]:
        flat = np.empty((height, width, 3), int)
        flat[...] = 201, 120, 40
        np.testing.assert_array_equal(to_rgb8(_mosaic(format, flat), format), flat, f"{height}x{width}")


@pytest.mark.parametrize("format", BAYER, ids=lambda each: str(each.value))
@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 9), (3, 3)])
def test_a_mosaic_is_interpolated_at_its_full_depth(format: PixelFormat, height: int, width: int) -> None:
    image = _noise(format, height, width)
    rgb = to_rgb8(image, format)
    for y, x, color in itertools.product(range(1, height - 1), range(1, width - 1), range(3)):
        exact = _bilinear(image, format, y, x, color)
        rounded = np.floor(exact + 0.5)  # OpenCV rounds halves up
        assert rgb[y, x, color] == int(rounded) >> (format.bits - 8), (y, x, color)


@pytest.mark.parametrize("format", BAYER, ids=lambda each: str(each.value))
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1)])
def test_a_mosaic_of_one_row_or_column_is_still_an_image(format: PixelFormat, height: int, width: int) -> None:
    gray = np.full((height, width), 77 << (format.bits - 8), format.dtype)
    np.testing.assert_array_equal(to_rgb8(gray, format), np.full((height, width, 3), 77))


def test_yuv_without_color_is_its_own_brightness() -> None:
    image = np.empty((2, 256, 2), np.uint8)
    image[..., 0], image[..., 1] = np.arange(256), 128
    np.testing.assert_array_equal(
        to_rgb8(image, PixelFormat.YUV422_8), np.arange(256)[None, :, None].repeat(2, 0).repeat(3, 2)
    )


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5))
def test_yuv_is_full_range_and_two_pixels_share_their_color(seed: int, height: int, pairs: int) -> None:
    image = _noise(PixelFormat.YUV422_8, height, 2 * pairs, seed)
    rgb = to_rgb8(image, PixelFormat.YUV422_8)
    for y, x in itertools.product(range(height), range(2 * pairs)):
        luma, u, v = (int(image[y, x, 0]), *(int(image[y, x // 2 * 2 + k, 1]) - 128 for k in (0, 1)))
        exact = (luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u)  # ITU-T T.871
        np.testing.assert_allclose(rgb[y, x], np.clip(exact, 0, 255), atol=1.0)


@pytest.mark.parametrize("width", [1, 3, 7])
def test_yuv_of_odd_width_is_refused(width: int) -> None:
    with pytest.raises(FrameError, match=rf"cannot convert a YUV422_8 image of shape \(4, {width}, 2\)"):
        to_rgb8(np.zeros((4, width, 2), np.uint8), PixelFormat.YUV422_8)


VIEWS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "flipped": lambda image: image[::-1, ::-1],
    "strided": lambda image: image.repeat(2, 0).repeat(3, 1)[::2, ::3],
    "transposed": lambda image: np.ascontiguousarray(image.swapaxes(0, 1)).swapaxes(0, 1),
    "Fortran": np.asfortranarray,
    "read-only": lambda image: np.frombuffer(image.tobytes(), image.dtype).reshape(image.shape),
}


@pytest.mark.parametrize("format", FORMATS, ids=lambda each: str(each.value))
@pytest.mark.parametrize("view", VIEWS)
def test_any_strides_will_do(format: PixelFormat, view: str) -> None:
    image = VIEWS[view](_noise(format, 6, 8))
    plain = image.copy(order="C")
    np.testing.assert_array_equal(to_rgb8(image, format), to_rgb8(plain, format))
    np.testing.assert_array_equal(image, plain)


@pytest.mark.parametrize("format", FORMATS, ids=lambda each: str(each.value))
def test_a_buffer_given_is_written_to(format: PixelFormat) -> None:
    image = _noise(format, 6, 8)
    expected = to_rgb8(image, format)
    out = np.full((6, 8, 3), 99, np.uint8)
    result = to_rgb8(image, format, out)
    np.testing.assert_array_equal(result, expected)
    assert result is (image if format is PixelFormat.RGB8 else out)


def test_rgb8_is_passed_on_without_a_copy() -> None:
    image = _noise(PixelFormat.RGB8, 3, 4)
    assert to_rgb8(image, PixelFormat.RGB8) is image
    flipped = to_rgb8(image[::-1], PixelFormat.RGB8)
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flipped, image[::-1])
