"""L*a*b*, against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from stainstream.color.lut import Colors, colors_of
from stainstream.color.spaces import lab_to_rgb, rgb_to_lab

skimage_color = pytest.importorskip("skimage.color")

SOME = colors_of(np.arange(0, 1 << 24, 1009, dtype=np.uint32)) / 255.0
EDGES = (
    np.array([[r, g, b] for r in (0, 9, 10, 11, 255) for g in (0, 9, 10, 11, 255) for b in (0, 10, 11, 255)]) / 255.0
)


@pytest.mark.parametrize("rgb", [SOME, EDGES], ids=["some", "edges"])
def test_lab_is_scikit_images(rgb: Colors) -> None:
    np.testing.assert_allclose(rgb_to_lab(rgb), skimage_color.rgb2lab(rgb), atol=1e-9)


@pytest.mark.parametrize("rgb", [SOME, EDGES], ids=["some", "edges"])
def test_there_and_back(rgb: Colors) -> None:
    np.testing.assert_allclose(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=2e-6)  # the standard's constants are rounded


def test_back_is_scikit_images_where_the_color_exists() -> None:
    rng = np.random.default_rng(0)
    lab = rng.uniform([0, -60, -60], [100, 60, 60], (20_000, 3))
    rgb = lab_to_rgb(lab)
    inside = ((rgb > 0) & (rgb < 1)).all(axis=-1)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(rgb[inside], skimage_color.lab2rgb(lab[inside]), atol=1e-9)


def test_colors_that_do_not_exist_leave_the_range_but_stay_numbers() -> None:
    lab = np.random.default_rng(0).uniform([-50, -300, -300], [200, 300, 300], (20_000, 3))
    rgb = lab_to_rgb(lab)
    assert np.isfinite(rgb).all()
    assert (rgb < 0).any()
    assert (rgb > 1).any()
    assert np.isfinite(rgb_to_lab(rgb)).all()


def test_shapes_stay() -> None:
    assert rgb_to_lab(np.zeros((4, 5, 3))).shape == (4, 5, 3)
    assert lab_to_rgb(np.zeros((4, 5, 3))).shape == (4, 5, 3)
    assert lab_to_rgb(rgb_to_lab(np.ones(3))).shape == (3,)
