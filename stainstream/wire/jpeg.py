"""JPEG from strangers: looked at before it is decoded."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError

from .base import Buffer

__all__ = ["decode_jpeg", "jpeg_shape"]

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS = 0xDA
_TAIL = 256  # bytes at the end in which the image must end: some encoders pad with zeros


def jpeg_shape(data: Buffer) -> tuple[int, int, int]:
    """Height, width and number of components, from the frame header (SOF).

    Source: ITU-T T.81, B.2.

    Raises
    ------
    WireError
        If there is none where one must be.
    """
    view = memoryview(data)
    if view[:2] != _SOI:
        raise WireError("corrupt JPEG", "it does not begin as one")
    at = 2
    try:
        while True:
            fill, marker, length = struct.unpack_from(">BBH", view, at)
            if fill != 0xFF or marker == _SOS or length < 2:
                raise WireError("corrupt JPEG", "its size is not where it must be")
            if marker in _SOF:
                _, height, width, components = struct.unpack_from(">BHHB", view, at + 4)
                return height, width, components
            # A marker may be preceded by any number of fill bytes.
            at += 1 if marker == 0xFF else 2 + length
    except struct.error as error:
        raise WireError("corrupt JPEG", "it ends before its size is said") from error


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
    if not bytes(data[-_TAIL:]).rstrip(b"\0").endswith(_EOI):
        raise WireError("corrupt JPEG", "its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise WireError("corrupt JPEG", error.err) from error
    if image is None or image.shape != (height, width, 3)[: 2 if channels == 1 else 3]:
        raise WireError("corrupt JPEG", f"it cannot be decoded to {width}x{height}")
    return image
