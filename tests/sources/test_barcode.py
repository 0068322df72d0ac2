"""A frame's number, written into its pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainstream.errors import FrameError
from stainstream.frame import RGB8
from stainstream.sources.barcode import BARCODE, read_barcode, write_barcode

NUMBERS = st.integers(0, 2**32 - 1)


def _coded(number: int, height: int = 80, width: int = 100) -> RGB8:
    image = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    write_barcode(image, number)
    return image


@given(NUMBERS)
def test_round_trip(number: int) -> None:
    assert read_barcode(_coded(number)) == number
    assert read_barcode(_coded(number, BARCODE.height, BARCODE.width)) == number


@given(NUMBERS)
def test_only_the_corner_is_touched(number: int) -> None:
    image = np.full((80, 100, 3), 77, np.uint8)
    write_barcode(image, number)
    assert (image[BARCODE.height :] == 77).all()
    assert (image[:, BARCODE.width :] == 77).all()


@given(NUMBERS, st.integers(0, 2**32 - 1), st.floats(0.0, 0.2))
def test_survives_any_map_that_keeps_black_darker(number: int, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    black, white = np.sort(rng.integers(0, 256, (2, 3)), axis=0)
    white = np.minimum(255, white + 4)
    light = np.sort(rng.integers(0, 256, (256, 3)), axis=0)
    light[0], light[255] = black, white
    image = np.stack([light[:, channel][_coded(number)[..., channel]] for channel in range(3)], -1).astype(float)
    image += rng.normal(0, noise * (white - black).mean(), image.shape)
    assert read_barcode(image.clip(0, 255).round().astype(np.uint8)) == number


@pytest.mark.parametrize("quality", [30, 95])
@given(number=NUMBERS)
def test_survives_jpeg(number: int, quality: int) -> None:
    done, data = cv2.imencode(".jpg", _coded(number), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    assert read_barcode(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)) == number


@given(NUMBERS, st.sets(st.integers(0, 55), min_size=1, max_size=3))
def test_up_to_three_flipped_blocks_are_noticed(number: int, flipped: set[int]) -> None:
    image = _coded(number)
    for block in flipped:
        y, x = block // 8 * 8, block % 8 * 8
        image[y : y + 8, x : x + 8] = 255 - image[y : y + 8, x : x + 8]
    with pytest.raises(FrameError, match="barcode"):
        read_barcode(image)


@given(NUMBERS, NUMBERS, st.integers(9, 47))
def test_a_torn_frame_is_noticed(upper: int, lower: int, row: int) -> None:
    image = _coded(upper)
    image[row:] = _coded(lower)[row:]
    try:
        read = read_barcode(image)
    except FrameError:
        return
    assert read in {upper, lower}  # their differing bits are all on one side of the tear


@pytest.mark.parametrize("fill", [0, 128, 255])
def test_a_plain_image_has_none(fill: int) -> None:
    with pytest.raises(FrameError, match="there is none"):
        read_barcode(np.full((64, 64, 3), fill, np.uint8))


def test_inverted_is_none() -> None:
    with pytest.raises(FrameError, match="there is none"):
        read_barcode(255 - _coded(5))


@pytest.mark.parametrize("shape", [(55, 64, 3), (56, 63, 3), (64, 64), (64, 64, 4)])
def test_too_small_to_hold_one(shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="too small"):
        read_barcode(np.zeros(shape, np.uint8))
