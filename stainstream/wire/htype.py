"""A frame as a header of PSI's htype ``array-1.0`` and a payload: what array-1.0 and our own format share.

Source: https://github.com/paulscherrerinstitute/htypes (array-1.0); for ``ndattr`` the plug-in for EPICS areaDetector,
https://github.com/paulscherrerinstitute/ADZMQ, whose numbers are areaDetector's NDColorMode_t and NDBayerPattern_t.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.compression import expand
from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat

from .base import UNNUMBERED, Buffer
from .parts import Shape, checked, frame_of, pixel_format, pixels

__all__ = ["describe", "restore"]

_HTYPE = "array-1.0"
_DTYPES: dict[tuple[str, str], np.dtype[Any]] = {
    ("uint8", "little"): np.dtype("u1"),
    ("uint8", "big"): np.dtype("u1"),
    ("uint16", "little"): np.dtype("<u2"),
    ("uint16", "big"): np.dtype(">u2"),
}
_MONO, _BAYER, _RGB1, _RGB2, _RGB3 = range(5)
_LAYOUTS = {
    # Color mode and Bayer pattern: the pixel format's name, less its bits.
    (_MONO, 0): "Mono{}",
    (_BAYER, 0): "BayerRG{}",
    (_BAYER, 1): "BayerGB{}",
    (_BAYER, 2): "BayerGR{}",
    (_BAYER, 3): "BayerBG{}",
    (_RGB2, 0): "RGB{}",
    (_RGB1, 0): "RGB{}",
    (_RGB3, 0): "RGB{}_Planar",
}
_NUMBERS = {layout: numbers for numbers, layout in _LAYOUTS.items()}
_OF_FORMAT = {each: _NUMBERS.get(each.value.replace(str(each.bits), "{}"), (None, 0)) for each in PixelFormat}

_Order = Literal["little", "big"]
_Number = Annotated[int, msgspec.Meta(ge=0, le=255)]


class _Attributes(msgspec.Struct, frozen=True):
    """What we read of areaDetector's attributes."""

    color_mode: _Number | None = msgspec.field(default=None, name="ColorMode")
    bayer_pattern: _Number = msgspec.field(default=0, name="BayerPattern")


class _Header(msgspec.Struct):
    htype: str
    type: str
    shape: Shape
    frame: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] = UNNUMBERED
    endianness: _Order | None = None
    endianess: _Order | None = None
    """As htypes' own example spells it."""
    encoding: str | None = ""
    pixel_format: str | None = None
    ndattr: _Attributes = _Attributes()


_CONSUMED = frozenset(_Header.__struct_fields__) - {"ndattr"}


def describe(frame: Frame, encoding: str = "") -> dict[str, Any]:
    """What the header says about the payload; it says ``ndattr`` too, with the frame's other attributes kept."""
    return {
        "htype": _HTYPE,
        "type": "uint8" if frame.format.bits == 8 else "uint16",
        "shape": frame.image.shape,
        "frame": frame.seq,
        "endianness": sys.byteorder,
        "encoding": encoding,
        "pixel_format": frame.format.value,
        "ndattr": _attributes(frame),
    }


def restore(header: Mapping[str, Any], payload: Buffer, limit: int) -> Frame:
    """Make a frame, captured now; what the header says beyond the frame's structure becomes its metadata.

    Parameters
    ----------
    limit
        How many bytes the image may have.

    Raises
    ------
    WireError
        If the header or the payload is malformed.
    """
    known = checked(header, _Header)
    if known.htype != _HTYPE:
        raise WireError("unknown htype", f"it is {known.htype!r:.40}, not {_HTYPE!r}")
    dtype = _DTYPES.get((known.type, known.endianness or known.endianess or "little"))
    if dtype is None:
        raise WireError("unsupported type", f"it is {known.type!r:.40}, neither 'uint8' nor 'uint16'")
    if known.encoding:
        payload = expand(payload, known.encoding, known.shape, dtype.itemsize, limit)
    image, kind = _colored(pixels(payload, dtype, known.shape, limit), known)
    if known.encoding == "jpeg" and kind not in (PixelFormat.RGB8, PixelFormat.Mono8):
        raise WireError("pixels do not fit", f"a JPEG is RGB8 or Mono8, not {kind.value}")
    meta = {key: value for key, value in header.items() if key not in _CONSUMED}
    return frame_of(image, kind, known.frame, time.monotonic_ns(), meta)


def _colored(image: NDArray[Any], known: _Header) -> tuple[NDArray[Any], PixelFormat]:
    """The image as its pixel format wants it, by ``pixel_format``, ``ColorMode``, or else its shape."""
    if known.pixel_format is not None:
        return image, pixel_format(known.pixel_format)
    mode, pattern = known.ndattr.color_mode, known.ndattr.bayer_pattern
    if mode is None:
        mode = _guessed(image.shape)
    layout = _LAYOUTS.get((mode, pattern if mode == _BAYER else 0))
    if layout is None:
        raise WireError("unknown color mode", f"ColorMode {mode}, BayerPattern {pattern}")
    if mode == _RGB2 and image.ndim == 3:
        image = image.transpose(0, 2, 1)
    return image, pixel_format(layout.format(8 * image.itemsize))


def _guessed(shape: tuple[int, ...]) -> int:
    if len(shape) == 2:
        return _MONO
    if shape[2] == 3:
        return _RGB1
    if shape[0] == 3:
        return _RGB3
    raise WireError("unknown color mode", f"shape {list(shape)} does not tell it; say pixel_format")


def _attributes(frame: Frame) -> dict[str, Any]:
    """The areaDetector attributes that came with the frame; those that say how to read the pixels are said anew."""
    given = frame.meta.get("ndattr")
    kept = dict(given) if isinstance(given, Mapping) else {}
    kept.pop("ColorMode", None)
    kept.pop("BayerPattern", None)
    mode, pattern = _OF_FORMAT[frame.format]
    if mode is not None:  # areaDetector has no number for BGR, for one
        kept["ColorMode"] = mode
    if mode == _BAYER:
        kept["BayerPattern"] = pattern
    return kept
