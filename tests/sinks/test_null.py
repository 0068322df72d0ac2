"""The sink that throws frames away."""

from __future__ import annotations

import gc
import weakref

import numpy as np

from stainstream.api import open_sink
from stainstream.frame import Frame, PixelFormat


def test_keeps_nothing() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    gone = weakref.ref(image)
    with open_sink("null") as sink:
        sink.write(Frame(image, PixelFormat.RGB8))
        del image
        gc.collect()
        assert gone() is None
