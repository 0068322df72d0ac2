"""Histograms, focus, clipping."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
from stainstream.viewer.vitals import BINS, Focus, histogram, measure, sharpness

from .conftest import demo


def test_histograms_are_numpys() -> None:
    image = demo("160x120", 0)
    counts = np.array([np.histogram(image[..., channel], BINS, (0, 256))[0] for channel in range(3)])
    assert np.abs(np.array(histogram(image)) - counts * (255 / counts.max())).max() <= 0.5


def test_blur_lowers_sharpness_and_light_does_not_change_it() -> None:
    image = demo("640x480", 0)
    values = [sharpness(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.5, 1.0, 2.0, 4.0)]  # type: ignore[arg-type]
    assert sharpness(image) > values[0]
    assert values == sorted(values, reverse=True)
    dimmed = sharpness((image * 0.5).astype(np.uint8))
    assert dimmed == pytest.approx(sharpness(image), rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (192, 192), (577, 200), (2160, 3840)])
def test_any_size_can_be_measured(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    vitals = measure(image, image, Focus(), 0.0)
    assert (vitals.sharpness, vitals.focus, vitals.dark, vitals.bright) == (0.0, 1.0, 0.0, 0.0)


def test_clipped_pixels_are_those_with_a_channel_at_an_end() -> None:
    image = np.full((10, 10, 3), 128, np.uint8)
    image[0, :, 1] = 0
    image[1:3, :, 2] = 255
    vitals = measure(image, image, Focus(), 0.0)
    assert (vitals.dark, vitals.bright) == pytest.approx((0.1, 0.2))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 20)), min_size=1, max_size=50))
def test_focus_is_relative_to_the_best_of_the_last_half_minute(steps: list[tuple[float, float]]) -> None:
    focus, now, seen = Focus(), 0.0, []
    for sharp, pause in steps:
        now += pause
        seen.append((now, sharp))
        best = max(each for at, each in seen if at >= now - 30)
        assert focus.rate(sharp, now) == (sharp / best if best else 1.0)
