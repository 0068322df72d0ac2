"""Histograms of all colors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stainstream.color.histogram import ColorCounts
from stainstream.color.lut import index_of
from stainstream.errors import FrameError
from stainstream.frame import RGB8

IMAGES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
    elements=st.sampled_from([0, 1, 16, 128, 255]),
)


def _noise(shape: tuple[int, ...], seed: int = 0) -> RGB8:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _same(a: ColorCounts, b: ColorCounts) -> bool:
    return np.array_equal(a.words, b.words) and np.array_equal(a.shares, b.shares)


@settings(deadline=None)  # the first call compiles
@given(IMAGES)
def test_every_color_is_counted_once(image: RGB8) -> None:
    counts = ColorCounts.of(image, share=1)
    words, numbers = np.unique(index_of(image), return_counts=True)
    np.testing.assert_array_equal(counts.words, words)
    np.testing.assert_array_equal(counts.shares, numbers)
    np.testing.assert_array_equal(index_of(counts.colors), words)
    assert counts.weights.sum() == numbers.sum() / np.gcd.reduce(numbers)


def test_a_frame_of_noise_is_counted_like_numpy_counts_it() -> None:
    image = _noise((300, 200, 3))
    words, numbers = np.unique(index_of(image), return_counts=True)
    counts = ColorCounts.of(image)
    np.testing.assert_array_equal(counts.words, words)
    np.testing.assert_array_equal(counts.weights, numbers)


@settings(deadline=None)
@given(IMAGES, IMAGES, IMAGES)
def test_sums_do_not_depend_on_order_or_grouping(a: RGB8, b: RGB8, c: RGB8) -> None:
    one, two, three = (ColorCounts.of(each) for each in (a, b, c))
    assert _same((one + two) + three, one + (two + three))
    assert _same(one + two, two + one)
    assert _same(ColorCounts.gather([a, two, c]), one + two + three)


def test_halves_of_a_frame_add_up_to_it() -> None:
    image = _noise((64, 50, 3))
    assert _same(ColorCounts.of(image[:20], 1) + ColorCounts.of(image[20:], 1), ColorCounts.of(image, 1))


def test_a_batch_is_several_frames_and_a_frame_is_one() -> None:
    batch = _noise((3, 20, 10, 3))
    assert _same(ColorCounts.gather(batch), ColorCounts.gather(list(batch)))
    assert _same(ColorCounts.gather(batch[0]), ColorCounts.of(batch[0]))
    assert len(ColorCounts.gather([])) == 0


def test_frames_weigh_the_same_whatever_their_size() -> None:
    small, large = np.full((10, 10, 3), 10, np.uint8), np.full((37, 100, 3), 200, np.uint8)
    counts = ColorCounts.gather([small, large])
    assert counts.weights[0] / counts.weights.sum() == pytest.approx(0.5, rel=1e-6)


def test_fading_lets_go_of_old_frames_evenly() -> None:
    old, new = ColorCounts.of(_noise((32, 32, 3), 1)), ColorCounts.of(_noise((32, 32, 3), 2))
    mixed = old.faded(0.25) + new
    assert mixed.shares.sum() == pytest.approx(1.25 * new.shares.sum(), rel=1e-6)
    assert len(ColorCounts.of(_noise((4, 4, 3)), share=1).faded(0.5)) == 0


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_rgb_image_is_refused(image: RGB8) -> None:
    with pytest.raises(FrameError, match="no 8-bit RGB image"):
        ColorCounts.of(image)


def test_views_count_as_their_copies() -> None:
    image = _noise((20, 30, 3))
    image.flags.writeable = False
    assert _same(ColorCounts.of(image[::-1, ::2]), ColorCounts.of(image[::-1, ::2].copy()))
