"""The format of the imagezmq package, version 1.2: OpenCV images, blue first.

Source: https://github.com/jeffbass/imagezmq
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat

from .base import MAX_FRAME_BYTES, UNNUMBERED, Buffer
from .jpeg import decode_jpeg
from .parts import Shape, checked, frame_of, pair, pixels, raw, read_header, write_header

__all__ = ["ImageZMQ"]

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


class _Header(msgspec.Struct):
    dtype: str | None = None
    """None: the payload is a JPEG."""
    shape: Shape | None = None


class ImageZMQ:
    """``[JSON {msg, dtype, shape}][raw pixels]`` or ``[JSON {msg}][JPEG]``; see `Codec`.

    Images of three or four channels are BGR, as OpenCV's are, so RGB frames are encoded into a copy. Frames bear no
    number. ``msg``, by which imagezmq's users tell cameras apart, is passed through in the metadata.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes

    def encode(self, frame: Frame) -> list[Buffer]:
        image = _blue_first(frame)
        structure = {"msg": frame.meta.get("msg", "stainstream"), "dtype": image.dtype.name, "shape": image.shape}
        return [write_header(structure, frame.meta), raw(image)]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        text, payload = pair(parts)
        header = read_header(text)
        image = self._image(checked(header, _Header), payload)
        meta = {key: value for key, value in header.items() if key not in _Header.__struct_fields__}
        return frame_of(image, _format(image), UNNUMBERED, time.monotonic_ns(), meta)

    def _image(self, known: _Header, payload: Buffer) -> NDArray[Any]:
        if known.dtype is None and known.shape is None:
            return decode_jpeg(payload, self._limit)
        dtype = _DTYPES.get(known.dtype or "")
        if dtype is None or known.shape is None:
            raise WireError("unsupported type", f"dtype {known.dtype!r:.40}, shape {known.shape}")
        return pixels(payload, dtype, known.shape, self._limit)


def _format(image: NDArray[Any]) -> PixelFormat:
    kind = _FORMATS.get((image.dtype.name, image.shape[2:]))
    if kind is None:
        raise WireError("unknown pixel format", f"{image.dtype.name} of shape {list(image.shape)}")
    return kind


def _blue_first(frame: Frame) -> NDArray[Any]:
    """The image as OpenCV's users have it."""
    if frame.format in _SWAPPED:
        return np.asarray(cv2.cvtColor(frame.image, _SWAPPED[frame.format]))
    if frame.format in _FORMATS.values():
        return frame.image
    raise WireError("unsupported pixel format", f"imagezmq has no {frame.format.value}")
