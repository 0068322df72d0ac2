"""A frame as OpenCV's encoders want it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import SinkError
from stainstream.frame import Frame, PixelFormat

__all__ = ["bgr"]


def bgr(frame: Frame) -> NDArray[np.uint8]:
    """The pixels with blue first: a new uint8 array of shape (height, width, 3).

    Raises
    ------
    SinkError
        If the frame is not RGB8: written anyway, its colors would be swapped, and nobody would notice.
    """
    if frame.format is not PixelFormat.RGB8:
        raise SinkError(f"cannot write frame {frame.seq}", f"it is {frame.format.value}, and sinks take RGB8")
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), np.uint8)
