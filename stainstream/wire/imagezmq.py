"""The format of the imagezmq package, version 1.2: OpenCV images, blue first.

Source: https://github.com/jeffbass/imagezmq
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stainstream.frame import Frame

from .base import MAX_FRAME_BYTES, Buffer
from .jpeg import decode_jpeg
from .opencv import as_jpeg, as_opencv, from_opencv, stored
from .parts import Shape, checked, pair, raw, read_header, write_header

__all__ = ["ImageZMQ"]


class _Header(msgspec.Struct):
    dtype: str | None = None
    """None: the payload is a JPEG."""
    shape: Shape | None = None


class ImageZMQ:
    """``[JSON {msg, dtype, shape}][raw pixels]`` or ``[JSON {msg}][JPEG]``; see `Codec`.

    Images of three or four channels are BGR, as OpenCV's are, so RGB frames are encoded into a copy. Frames bear no
    number. ``msg``, by which imagezmq's users tell cameras apart, is passed through in the metadata.

    Parameters
    ----------
    quality
        Of JPEGs, 1 to 100; None to send raw pixels.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES, quality: int | None = None) -> None:
        self._limit, self._quality = max_frame_bytes, quality

    def encode(self, frame: Frame) -> list[Buffer]:
        image = as_opencv(frame, "imagezmq")
        named = {"msg": frame.meta.get("msg", "stainstream")}
        if self._quality is not None:
            meta = {key: value for key, value in frame.meta.items() if key not in _Header.__struct_fields__}
            return [write_header(named, meta), as_jpeg(image, self._quality)]
        return [write_header({**named, "dtype": image.dtype.name, "shape": image.shape}, frame.meta), raw(image)]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        text, payload = pair(parts)
        header = read_header(text)
        known = checked(header, _Header)
        if known.dtype is None and known.shape is None:
            image = decode_jpeg(payload, self._limit)
        else:
            image = stored(payload, known.dtype, known.shape, self._limit)
        return from_opencv(image, {key: each for key, each in header.items() if key not in _Header.__struct_fields__})
