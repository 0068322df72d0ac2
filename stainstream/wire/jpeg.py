"""JPEG from strangers: looked at before it is decoded."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.compression import complete_jpeg, jpeg_shape, require
from stainstream.errors import MissingExtra, WireError

from .base import Buffer

__all__ = ["decode_jpeg"]


def decode_jpeg(data: Buffer, limit: int) -> NDArray[Any]:
    """Decode to uint8 (height, width) or, blue first, (height, width, 3); any orientation tag is ignored.

    Where simplejpeg is installed, whatever libjpeg would only warn of counts as damage; OpenCV shows such images.

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
    image = _decoded(data, channels)
    if image is None or image.shape != (height, width, 3)[: 2 if channels == 1 else 3]:
        raise WireError("corrupt JPEG", f"it cannot be decoded to {width}x{height}")
    return image


def _decoded(data: Buffer, channels: int) -> NDArray[Any] | None:
    try:
        library = require("jpeg")
    except MissingExtra:
        return _by_opencv(data)
    try:
        image: NDArray[Any] = library.decode_jpeg(data, "GRAY" if channels == 1 else "BGR")
    except ValueError as error:
        raise WireError("corrupt JPEG", str(error)) from error
    return image.reshape(image.shape[:2]) if channels == 1 else image


def _by_opencv(data: Buffer) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise WireError("corrupt JPEG", error.err) from error
