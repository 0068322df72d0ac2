"""The format of NetGear, of the package vidgear, version 0.3: OpenCV images, blue first.

Source: https://github.com/abhiTronix/vidgear
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stainstream.errors import WireError
from stainstream.frame import Frame

from .base import MAX_FRAME_BYTES, Buffer
from .jpeg import decode_jpeg
from .opencv import as_jpeg, as_opencv, from_opencv, stored
from .parts import Shape, checked, pair, raw, read_header, write_header

__all__ = ["NetGear"]

_COMPRESSION = {"dct": False, "ups": False, "colorspace": "BGR"}  # what its receiver wants to be told
_PUBLISH = "2"  # the pattern by NetGear's count: 0 pair, 1 request and reply, 2 publish and subscribe


class _Header(msgspec.Struct):
    terminate_flag: bool
    compression: bool | dict[str, Any] = False
    """What the payload, a JPEG, was made with."""
    dtype: str = ""
    shape: Shape | str = ""


_STRUCTURE = ("terminate_flag", "compression", "pattern", "dtype", "shape")


class NetGear:
    """``[JSON {terminate_flag, compression, message, pattern, dtype, shape}][raw pixels or JPEG]``; see `Codec`.

    Images of three or four channels are BGR, as OpenCV's are. Frames bear no number. ``message`` is passed through.

    Parameters
    ----------
    quality
        Of JPEGs, 1 to 100; None to send raw pixels.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES, quality: int | None = None) -> None:
        self._limit, self._quality = max_frame_bytes, quality

    def encode(self, frame: Frame) -> list[Buffer]:
        image = as_opencv(frame, "NetGear")
        named = {"terminate_flag": False, "pattern": _PUBLISH, "message": frame.meta.get("message")}
        if self._quality is not None:
            made = {"compression": _COMPRESSION, "dtype": "", "shape": ""}
            return [write_header({**named, **made}, frame.meta), as_jpeg(image, self._quality)]
        stored_as = {"compression": False, "dtype": image.dtype.name, "shape": image.shape}
        return [write_header({**named, **stored_as}, frame.meta), raw(image)]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        if len(parts) == 1:
            if checked(read_header(parts[0]), _Header).terminate_flag:
                return None
            raise WireError("wrong number of parts", "it has 1 instead of 2, and does not terminate")
        text, payload = pair(parts)
        header = read_header(text)
        known = checked(header, _Header)
        if known.compression:
            image = decode_jpeg(payload, self._limit)
        else:
            shape = None if isinstance(known.shape, str) else known.shape
            image = stored(payload, known.dtype, shape, self._limit)
        return from_opencv(image, {key: value for key, value in header.items() if key not in _STRUCTURE})

    def start(self, frame: Frame) -> list[Buffer]:  # noqa: ARG002
        """Nothing: NetGear has no such message."""
        return []

    def status(self, counts: Mapping[str, Any]) -> list[Buffer]:  # noqa: ARG002
        """Nothing, likewise."""
        return []

    def end(self, counts: Mapping[str, Any]) -> list[Buffer]:  # noqa: ARG002
        """What ends NetGear's receiver."""
        return [write_header({"terminate_flag": True}, {})]
