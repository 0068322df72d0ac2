"""Images as OpenCV's users have them, blue first: what imagezmq and NetGear share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat

from .base import UNNUMBERED, Buffer
from .parts import frame_of, pixels

__all__ = ["as_jpeg", "as_opencv", "from_opencv", "stored"]

_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "uint16": np.dtype("<u2")}
_FORMATS = {
    ("uint8", ()): PixelFormat.Mono8,
    ("uint16", ()): PixelFormat.Mono16,
    ("uint8", (3,)): PixelFormat.BGR8,
    ("uint16", (3,)): PixelFormat.BGR16,
    ("uint8", (4,)): PixelFormat.BGRa8,
}
_SWAPPED = {
    PixelFormat.RGB8: cv2.COLOR_RGB2BGR,
    PixelFormat.RGB16: cv2.COLOR_RGB2BGR,
    PixelFormat.RGBa8: cv2.COLOR_RGBA2BGRA,
}


def as_opencv(frame: Frame, asked: str) -> NDArray[Any]:
    """The image, blue first: RGB is copied, others are not.

    Raises
    ------
    WireError
        If OpenCV's users have no such images.
    """
    if frame.format in _SWAPPED:
        return np.asarray(cv2.cvtColor(frame.image, _SWAPPED[frame.format]))
    if frame.format in _FORMATS.values():
        return frame.image
    raise WireError("unsupported pixel format", f"{asked} has no {frame.format.value}")


def as_jpeg(image: NDArray[Any], quality: int) -> bytes:
    """The image as a JPEG whose colors keep the full resolution (4:4:4).

    Parameters
    ----------
    quality
        1 to 100.

    Raises
    ------
    WireError
        If it is not gray or BGR, of 8 bits.
    """
    if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)):
        raise WireError("unsupported pixel format", f"a JPEG is not of {image.dtype.name} {list(image.shape)}")
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    done, data = cv2.imencode(
        ".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    )
    if not done:
        raise WireError("unsupported pixel format", f"OpenCV makes no JPEG of {list(image.shape)}")
    return data.tobytes()


def from_opencv(image: NDArray[Any], meta: Mapping[str, Any]) -> Frame:
    """A frame without a number, captured now.

    Raises
    ------
    WireError
        If it has another number of channels.
    """
    kind = _FORMATS.get((image.dtype.name, image.shape[2:]))
    if kind is None:
        raise WireError("unknown pixel format", f"{image.dtype.name} of shape {list(image.shape)}")
    return frame_of(image, kind, UNNUMBERED, time.monotonic_ns(), meta)


def stored(payload: Buffer, dtype: str | None, shape: tuple[int, ...] | None, limit: int) -> NDArray[Any]:
    """The image in a payload of raw pixels; see `stainstream.wire.parts.pixels`."""
    known = _DTYPES.get(dtype or "")
    if known is None or shape is None:
        raise WireError("unsupported type", f"dtype {dtype!r:.40}, shape {shape}")
    return pixels(payload, known, shape, limit)
