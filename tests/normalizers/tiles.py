"""Real tissue to fit to, and frames with too little of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

import stainstream.sources
from stainstream.color.lut import quantize
from stainstream.frame import RGB8
from stainstream.normalizers.fitted import Fitted

__all__ = ["LOW_TISSUE", "demo", "glass", "mapped", "mitos", "restained", "tile"]


def _read(path: Path) -> RGB8:
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def demo(row: int = 0, column: int = 0, size: int = 512) -> RGB8:
    """A part of the tissue that ships with stainstream, in units of its size."""
    image = _read(Path(stainstream.sources.__path__[0]) / "tissue.jpg")
    return np.ascontiguousarray(image[row * size :, column * size :][:size, :size])


def restained(image: RGB8) -> RGB8:
    """The same tissue, stained less and with other dyes: densities scaled by color."""
    return quantize((image / 255.0) ** [0.6, 0.8, 0.9])


def tile(shared: Path, centre: int, k: int = 0) -> RGB8:
    """A tile of 512x512 of one of CAMELYON17's centers."""
    return _read(sorted((shared / "data" / "camelyon17" / f"centre_{centre}").glob("*.png"))[k])


def mitos(shared: Path, scanner: str, case: str) -> RGB8:
    """The registered field of a case of MITOS-ATYPIA-14."""
    return _read(shared / "data" / "mitos_aperio_hamamatsu" / scanner / f"{case}.png")[16:-32, 16:-32].copy()


def mapped(normalizer: Fitted[Any], image: RGB8) -> RGB8:
    """The image, normalized without a table."""
    return quantize(normalizer(image / 255.0), normalizer.rounding)


def glass() -> RGB8:
    """Blank glass with a camera's noise."""
    noise = np.random.default_rng(0).normal(243.0, 1.5, (512, 512, 3))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def _speck() -> RGB8:
    image = glass()
    image[100:106, 200:206] = demo(size=6)
    return image


def _pen(color: tuple[int, int, int]) -> RGB8:
    return np.asarray(cv2.line(glass(), (50, 400), (450, 80), color, 30), np.uint8)


LOW_TISSUE: dict[str, RGB8] = {
    "white": np.full((512, 512, 3), 255, np.uint8),
    "glass": glass(),
    "black": np.zeros((512, 512, 3), np.uint8),
    "speck": _speck(),
    "blue pen": _pen((20, 40, 140)),
    "green pen": _pen((10, 120, 60)),
    "black pen": _pen((25, 25, 30)),
}
