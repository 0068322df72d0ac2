"""DECTRIS Stream V2: one CBOR map a message.

Source: https://github.com/dectris/documentation (stream_v2).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import cbor2
import msgspec
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import WireError
from stainstream.frame import Frame

from .base import MAX_FRAME_BYTES, Buffer
from .cbor import plain, read_array, read_map, write_array
from .parts import checked, frame_of, pixel_format, write_header

__all__ = ["Dectris"]

_SECOND = 1_000_000_000
_COLORS = ("red", "green", "blue"), ("r", "g", "b")
_GUESSED = {2: "Mono{}", 3: "RGB{}"}
_CHANNEL = "image"

_Text = Annotated[str, msgspec.Meta(max_length=1024)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Rational = tuple[_Count, _Count]


class _Message(msgspec.Struct):
    type: Literal["start", "image", "end"]


class _Times(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which series an image is of, and when it was taken."""

    series_date: _Text | None = None
    series_id: _Count | None = None
    series_unique_id: _Text | None = None
    real_time: _Rational | None = None
    start_time: _Rational | None = None
    stop_time: _Rational | None = None


class _Image(_Times, kw_only=True):
    data: dict[str, Any]
    image_id: _Count
    user_data: Any = None


class Dectris:
    """One part: the CBOR map of a ``start``, ``image`` or ``end``; see `Codec`.

    An image of one channel is gray, or RGB where it has three axes; channels called red, green and blue (or r, g, b)
    are put together; others cannot be told apart and are refused. What we send has one channel, ``image``, of all axes,
    and says ``pixel_format`` and all metadata in ``user_data``, where they are also looked for.
    """

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit = max_frame_bytes
        self._began_ns = time.time_ns()
        self._series = {
            "series_date": datetime.fromtimestamp(self._began_ns / _SECOND, UTC).isoformat(timespec="microseconds"),
            "series_id": 1,
            "series_unique_id": uuid.uuid4().hex,
        }

    def encode(self, frame: Frame) -> list[Buffer]:
        said = msgspec.json.decode(write_header({"pixel_format": frame.format.value}, frame.meta))
        times = _given(said) or {**self._series, **self._times(frame)}
        times["series_date"] = cbor2.CBORTag(0, times["series_date"])
        message = {"type": "image", **times, "image_id": frame.seq, "data": {_CHANNEL: write_array(frame.image)}}
        user = {key: value for key, value in said.items() if key not in times}
        return [cbor2.dumps({**message, "user_data": user})]

    def decode(self, parts: Sequence[Buffer]) -> Frame | None:
        if len(parts) != 1:
            raise WireError("wrong number of parts", f"it has {len(parts)} instead of 1")
        message = read_map(parts[0])
        if checked(message, _Message).type != "image":
            return None
        known = checked(message, _Image)
        meta = {**_about(known), **_user(known.user_data)}
        name = meta.pop("pixel_format", None)
        image = self._picture(known.data)
        kind = pixel_format(name if isinstance(name, str) else _GUESSED[image.ndim].format(8 * image.itemsize))
        return frame_of(image, kind, known.image_id, time.monotonic_ns(), meta)

    def start(self, frame: Frame) -> list[Buffer]:
        """The start of a series, as far as is known of it; how many images it will have is not."""
        about = {
            "arm_date": cbor2.CBORTag(0, self._series["series_date"]),
            "channels": [_CHANNEL],
            "detector_description": "stainstream",
            "image_dtype": frame.format.dtype.name,
            "image_size_x": frame.width,
            "image_size_y": frame.height,
            "saturation_value": (1 << frame.format.bits) - 1,
        }
        model = frame.meta.get("model")
        user = {"pixel_format": frame.format.value, **({"model": dict(model)} if isinstance(model, Mapping) else {})}
        return [cbor2.dumps({"type": "start", **about, **self._named, "user_data": user})]

    def status(self, counts: Mapping[str, Any]) -> list[Buffer]:  # noqa: ARG002
        """Nothing: there is no such message."""
        return []

    def end(self, counts: Mapping[str, Any]) -> list[Buffer]:
        """The end of a series; the counts are for the user."""
        return [cbor2.dumps({"type": "end", **self._named, "user_data": dict(counts)})]

    @property
    def _named(self) -> dict[str, Any]:
        return {key: self._series[key] for key in ("series_id", "series_unique_id")}

    def _times(self, frame: Frame) -> dict[str, Any]:
        """When it was captured, as the vendor has it: since the beginning of the series."""
        age = time.monotonic_ns() - frame.captured_ns
        at = [max(0, time.time_ns() - age - self._began_ns), _SECOND]
        return {"start_time": at, "stop_time": at, "real_time": [0, _SECOND]}

    def _picture(self, channels: Mapping[str, Any]) -> NDArray[Any]:
        """The image of all channels."""
        if len(channels) == 1:
            return read_array(next(iter(channels.values())), self._limit)
        named = {name.lower(): channel for name, channel in channels.items()}
        colors = next((each for each in _COLORS if set(each) == set(named)), None)
        if colors is None or len(channels) != 3:
            names = ", ".join(channels)
            raise WireError("unknown pixel format", f"channels {names!r:.80}: neither one nor red, green and blue")
        planes = [read_array(named[color], self._limit // 3) for color in colors]
        if len({(plane.shape, plane.dtype) for plane in planes}) != 1 or planes[0].ndim != 2:
            raise WireError("pixels do not fit", "its channels are not of one size")
        return np.stack(planes, axis=-1)


def _given(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The series and times that a frame of DECTRIS' came with; none of them if they are not whole."""
    try:
        times = msgspec.convert(meta, _Times)
    except msgspec.ValidationError:
        return {}
    return {} if times.series_date is None else msgspec.to_builtins(times)


def _about(known: _Image) -> dict[str, Any]:
    """What is passed on of an image's message, with the names that our own format has for it."""
    given = {key: getattr(known, key) for key in _Times.__struct_fields__}
    about = {key: value for key, value in given.items() if value is not None}
    if known.series_unique_id is not None:
        about["epoch"] = known.series_unique_id
    if (captured := _captured(known)) is not None:
        about["t_utc_ns"] = captured
    return about


def _captured(known: _Image) -> int | None:
    """Nanoseconds since 1970, if the message says when."""
    if known.series_date is None or known.start_time is None or not known.start_time[1]:
        return None
    try:
        began = datetime.fromisoformat(known.series_date)
    except ValueError:
        return None
    since = began.replace(tzinfo=began.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    ticks, frequency = known.start_time
    ns = (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds * 1000 + ticks * _SECOND // frequency
    return ns if 0 <= ns < 1 << 63 else None


def _user(data: Any) -> dict[str, Any]:
    """Metadata that the sender's user added."""
    kept = plain(data)
    if isinstance(kept, dict):
        return kept
    return {} if kept is None else {"user_data": kept}
