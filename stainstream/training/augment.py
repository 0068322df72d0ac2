"""Augmentations of a classifier's images, as the paper's section 4.2 states them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.color.lut import quantize
from stainstream.frame import RGB8

__all__ = ["Experiment", "augmented", "hed_scaled", "toned", "turned"]

Experiment: TypeAlias = Literal["E1", "E2", "E3"]
"""E1: none. E2: brightness, contrast and rotation. E3: these, and the components of HED."""

Values: TypeAlias = NDArray[np.float32]

_LOW, _HIGH = 0.75, 1.25  # of every factor
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Hematoxylin, eosin, DAB: Ruifrok and Johnston, 2001, as scikit-image has them.
_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
_FROM_RGB = np.linalg.inv(_HED)
_DARKEST = np.float32(1e-6)


def augmented(image: RGB8, experiment: Experiment, rng: np.random.Generator) -> RGB8:
    """An image as an experiment's classifier is given it, anew each time.

    Parameters
    ----------
    image
        uint8 (height, width, 3).
    """
    if experiment == "E1":
        return image
    brightness, contrast = rng.uniform(_LOW, _HIGH, 2)
    rotated = turned(image, float(rng.uniform(-180.0, 180.0)))
    values = toned(rotated.astype(np.float32) / np.float32(255.0), brightness, contrast)
    if experiment == "E3":
        values = hed_scaled(values, rng.uniform(_LOW, _HIGH, 3))
    return quantize(values)


def toned(rgb: Values, brightness: float, contrast: float) -> Values:
    """Colors in [0, 1], multiplied by `brightness`; then their distance from the mean gray, by `contrast`."""
    bright = np.clip(rgb * np.float32(brightness), 0.0, 1.0)
    gray = np.float32((bright @ _GRAY).mean())
    return np.asarray(np.clip((bright - gray) * np.float32(contrast) + gray, 0.0, 1.0), np.float32)


def turned(image: RGB8, degrees: float) -> RGB8:
    """An image, turned around its middle; what comes in at the corners is mirrored."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def hed_scaled(rgb: Values, factors: NDArray[Any]) -> Values:
    """Colors in [0, 1] whose hematoxylin, eosin and DAB are multiplied by `factors`."""
    density = np.log(np.maximum(rgb, _DARKEST)) / np.log(_DARKEST)
    stains = np.maximum(density @ _FROM_RGB, 0.0) * factors.astype(np.float32)
    return np.asarray(np.clip(np.exp(stains @ _HED * np.log(_DARKEST)), 0.0, 1.0), np.float32)
