"""JPEG from strangers: looked at before it is decoded."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.compression import complete_jpeg, jpeg_shape
from stainstream.errors import WireError

from .base import Buffer

__all__ = ["decode_jpeg"]


def decode_jpeg(data: Buffer, limit: int) -> NDArray[Any]:
    """Decode to uint8 (height, width) or, blue first, (height, width, 3); any orientation tag is ignored.

    Parameters
    ----------
    limit
        How many bytes the image may have.

    Raises
    ------
    WireError
        If it is no JPEG, damaged or cut off, has no pixels, or would be larger.
    """
    height, width, components = jpeg_shape(data)
    channels = 1 if components == 1 else 3
    if (size := height * width * channels) == 0:
        raise WireError("corrupt JPEG", f"it says it is {width}x{height}")
    if size > limit:
        raise WireError("large frame", f"JPEG of {width}x{height} takes {size} bytes, {limit} are allowed")
    if not complete_jpeg(data):
        raise WireError("corrupt JPEG", "its end is missing, or it has too many scans")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise WireError("corrupt JPEG", error.err) from error
    if image is None or image.shape != (height, width, 3)[: 2 if channels == 1 else 3]:
        raise WireError("corrupt JPEG", f"it cannot be decoded to {width}x{height}")
    return image
