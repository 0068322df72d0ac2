"""Tissue, glass and ink."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import stainstream.sources
from stainstream.color.lut import quantize
from stainstream.color.tissue import is_ink, keep_glass
from stainstream.frame import RGB8

PENS = {
    "blue": (20, 40, 140),
    "light blue": (70, 110, 200),
    "green": (10, 120, 60),
    "cyan": (0, 130, 150),
    "violet-blue": (50, 40, 150),
    "black": (25, 25, 30),
}


@pytest.mark.parametrize("pen", PENS)
def test_pens_are_ink(pen: str) -> None:
    assert is_ink(np.array([PENS[pen]], np.uint8)).all()


def test_stains_are_not() -> None:
    image = cv2.imread(str(Path(stainstream.sources.__path__[0]) / "tissue.jpg"))
    assert image is not None
    assert is_ink(np.ascontiguousarray(image[..., ::-1].reshape(-1, 3), np.uint8)).mean() < 0.005


@pytest.mark.parametrize(("folder", "most"), [("camelyon17", 0.005), ("pap_herlev", 0.005), ("pap_sipakmed", 0.2)])
def test_neither_are_those_of_other_laboratories(shared: Path, folder: str, most: float) -> None:
    paths = sorted(
        path for path in (shared / "data" / folder).rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"}
    )
    shares = []
    for path in paths[:: max(1, len(paths) // 20)]:
        image = cv2.imread(str(path))
        assert image is not None
        shares.append(is_ink(np.ascontiguousarray(image[..., ::-1].reshape(-1, 3), np.uint8)).mean())
    assert len(shares) >= 5
    assert np.mean(shares) < most


def _kept(colors: RGB8) -> RGB8:
    """Colors after a map that turns everything mid-gray, with glass and black kept."""
    rgb = colors / 255.0
    return quantize(keep_glass(rgb, np.full_like(rgb, 0.5)), "truncate")


def test_glass_and_black_stay_to_the_bit() -> None:
    bright = np.random.default_rng(0).integers(225, 256, (500, 3), np.uint8)
    dark = np.random.default_rng(1).integers(0, 9, (500, 3), np.uint8)
    np.testing.assert_array_equal(_kept(bright), bright)
    np.testing.assert_array_equal(_kept(dark), dark)


def test_tissue_is_mapped_entirely() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (5000, 3), np.uint8)
    tissue = colors[(colors.min(axis=1) <= 205) & (colors.max(axis=1) >= 40)]
    assert (_kept(tissue) == 127).all()


@pytest.mark.parametrize("goal", [0.0, 0.6, 1.0])
def test_between_them_nothing_jumps(goal: float) -> None:
    gray = np.linspace(0.0, 1.0, 2551)[:, None].repeat(3, axis=1)
    kept = keep_glass(gray, np.full_like(gray, goal))
    assert np.abs(np.diff(kept, axis=0)).max() < 20 * 0.1 / 255  # in steps of a tenth of a level


def test_what_leaves_the_gamut_does_not_spill_over() -> None:
    nearly_glass = np.full((1, 3), 215 / 255)
    assert keep_glass(nearly_glass, np.full((1, 3), 50.0)).max() <= 1.0
