"""A frame as a header of PSI's htype ``array-1.0`` and a payload: what array-1.0 and our own format share.

Source: https://github.com/paulscherrerinstitute/htypes (array-1.0) and, for ``ndattr``, the EPICS areaDetector plug-in
https://github.com/paulscherrerinstitute/ADZMQ; color modes are areaDetector's ``NDColorMode_t`` and ``NDBayerPattern_t``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat

from .base import UNNUMBERED, Buffer
from .parts import Shape, checked, frame_of, pixels

__all__ = ["describe", "restore"]

_HTYPE = "array-1.0"
_DTYPES: dict[tuple[str, str], np.dtype[Any]] = {
    ("uint8", "little"): np.dtype("u1"),
    ("uint8", "big"): np.dtype("u1"),
    ("uint16", "little"): np.dtype("<u2"),
    ("uint16", "big"): np.dtype(">u2"),
}
_MONO, _BAYER, _RGB1, _RGB2, _RGB3 = range(5)
_MODES = {"Mono": _MONO, "RGB": _RGB1, "Bayer": _BAYER}
_PATTERNS = ("BayerRG", "BayerGB", "BayerGR", "BayerBG")

_Order = Literal["little", "big"]


class _Attributes(msgspec.Struct, frozen=True):
    """What we read of areaDetector's attributes."""

    color_mode: int | None = msgspec.field(default=None, name="ColorMode")
    bayer_pattern: int = msgspec.field(default=0, name="BayerPattern")


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


def describe(frame: Frame) -> dict[str, Any]:
    """What the header says about the payload; it says ``ndattr`` too, with the frame's other attributes kept."""
    return {
        "htype": _HTYPE,
        "type": frame.format.dtype.name,
        "shape": frame.image.shape,
        "frame": frame.seq,
        "endianness": sys.byteorder,
        "encoding": "",
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
    if known.encoding:
        raise WireError("unsupported encoding", f"it is {known.encoding!r:.40}; only raw pixels are read")
    dtype = _DTYPES.get((known.type, known.endianness or known.endianess or "little"))
    if dtype is None:
        raise WireError("unsupported type", f"it is {known.type!r:.40}, neither 'uint8' nor 'uint16'")
    image, format = _colored(pixels(payload, dtype, known.shape, limit), known)
    meta = {key: value for key, value in header.items() if key not in _CONSUMED}
    return frame_of(image, format, known.frame, time.monotonic_ns(), meta)


def _colored(image: NDArray[Any], known: _Header) -> tuple[NDArray[Any], PixelFormat]:
    """The image as its pixel format wants it, by ``pixel_format``, ``ColorMode``, or else its shape."""
    if known.pixel_format is not None:
        return image, _named(known.pixel_format)
    mode, bits = known.ndattr.color_mode, 8 * image.itemsize
    if mode is None:
        mode = _guessed(image.shape)
    if mode == _RGB2 and image.ndim == 3:
        image, mode = image.transpose(0, 2, 1), _RGB1
    if mode == _BAYER:
        return image, _named(f"{_pattern(known.ndattr.bayer_pattern)}{bits}")
    names = {_MONO: f"Mono{bits}", _RGB1: f"RGB{bits}", _RGB3: f"RGB{bits}_Planar"}
    if mode not in names:
        raise WireError("unknown color mode", f"ColorMode {mode:.3g} with shape {list(image.shape)}")
    return image, _named(names[mode])


def _guessed(shape: tuple[int, ...]) -> int:
    if len(shape) == 2:
        return _MONO
    if shape[2] == 3:
        return _RGB1
    if shape[0] == 3:
        return _RGB3
    raise WireError("unknown color mode", f"shape {list(shape)} does not tell it; say pixel_format")


def _pattern(number: int) -> str:
    if not 0 <= number < len(_PATTERNS):
        raise WireError("unknown color mode", f"BayerPattern {number:.3g}")
    return _PATTERNS[number]


def _named(name: str) -> PixelFormat:
    try:
        return PixelFormat(name)
    except ValueError as error:
        raise WireError("unknown pixel format", f"it is {name!r:.40}") from error


def _attributes(frame: Frame) -> dict[str, Any]:
    """The areaDetector attributes that came with the frame, less those that say how to read it, which are said anew."""
    given = frame.meta.get("ndattr")
    kept = dict(given) if isinstance(given, Mapping) else {}
    for key in ("ColorMode", "BayerPattern"):
        kept.pop(key, None)
    return kept | _color_mode(frame.format)


def _color_mode(format: PixelFormat) -> dict[str, int]:
    """ColorMode and BayerPattern; nothing where areaDetector has no number for the format."""
    if format.is_bayer:
        return {"ColorMode": _BAYER, "BayerPattern": _PATTERNS.index(format.order)}
    if format.planar:
        return {"ColorMode": _RGB3}
    return {"ColorMode": _MODES[format.order]} if format.order in _MODES else {}
