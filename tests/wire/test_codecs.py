"""What every wire format keeps to."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.wire import TABLE, Codec
from stainstream.wire.base import UNNUMBERED, Buffer

NAMES = [row.name for row in TABLE]
BLUE = ("imagezmq", "netgear")
"""OpenCV's formats, which have no numbers."""
JSON = [name for name in NAMES if name != "dectris-v2"]
"""Those whose header is JSON and whose pixels are a part by themselves."""
META = {
    "stage": {"x": 1.5, "y": -2, "z": None},
    "slide": "S-1 'ä'",
    "tile": [3, 4],
    "tags": [],
    "source": "scanner",
    "timeStamp": 1795489139.25,
    "msg": "camera 1",
    "on": True,
}
LIMIT = 4096


def codec(name: str, limit: int = 1 << 20) -> Codec:
    return TABLE[name].load()(max_frame_bytes=limit)


def noise(format: PixelFormat, height: int = 5, width: int = 7) -> np.ndarray[Any, np.dtype[Any]]:
    return np.random.default_rng(0).integers(0, 1 << format.bits, format.shape(height, width), format.dtype)


def encodable(name: str, format: PixelFormat) -> bool:
    return name not in BLUE or format.value in (
        "Mono8", "Mono16", "RGB8", "RGB16", "RGBa8", "BGR8", "BGR16", "BGRa8"
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_keeps_to_the_protocol(name: str) -> None:
    assert isinstance(codec(name), Codec)


@pytest.mark.parametrize("format", PixelFormat)
@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_format_comes_back(name: str, format: PixelFormat) -> None:
    frame = Frame(noise(format), format, 7, 1, META)
    if not encodable(name, format):
        with pytest.raises(WireError, match=r"(imagezmq|NetGear) has no"):
            codec(name).encode(frame)
        return
    back = codec(name).decode(codec(name).encode(frame))
    assert back is not None
    assert {key: value for key, value in back.meta.items() if key in META} == META
    assert back.captured_ns > 1
    if name in BLUE:
        assert back.seq == UNNUMBERED
        assert back.format.value == format.value.replace("RGB", "BGR")
        swapped = format.order in ("RGB", "RGBa")
        np.testing.assert_array_equal(
            back.image, frame.image[..., [2, 1, 0, 3][: format.channels]] if swapped else frame.image
        )
    else:
        assert (back.seq, back.format) == (7, format)
        np.testing.assert_array_equal(back.image, frame.image)


@pytest.mark.parametrize("name", JSON)
def test_pixels_are_not_copied(name: str) -> None:
    kind = PixelFormat.BGR8 if name in BLUE else PixelFormat.RGB8
    frame = Frame(noise(kind), kind)
    parts = codec(name).encode(frame)
    assert np.shares_memory(np.frombuffer(parts[-1], np.uint8), frame.image)
    back = codec(name).decode(parts)
    assert back is not None
    assert np.shares_memory(back.image, frame.image)


@pytest.mark.parametrize("name", NAMES)
def test_views_are_sent_as_they_look(name: str) -> None:
    view = noise(PixelFormat.Mono8, 8, 8)[::-2, 1::2]
    back = codec(name).decode(codec(name).encode(Frame(view, PixelFormat.Mono8)))
    assert back is not None
    np.testing.assert_array_equal(back.image, view)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_never_pass_for_structure(name: str) -> None:
    forged = {"htype": "x", "type": "float64", "dtype": "object", "shape": [9], "frame": -1, "ssf": 9, "kind": "end"}
    forged |= {"endianness": "big", "encoding": "lz4", "pixel_format": "Mono8"}
    frame = Frame(noise(PixelFormat.RGB16), PixelFormat.RGB16, 3, 1, forged)
    back = codec(name).decode(codec(name).encode(frame))
    assert back is not None
    assert back.format in (PixelFormat.RGB16, PixelFormat.BGR16)
    assert back.image.shape == frame.image.shape


@pytest.mark.parametrize("name", JSON)
def test_numpy_numbers_are_written_as_numbers(name: str) -> None:
    meta = {"x": np.float32(0.5), "n": np.int64(3), "at": np.array([1, 2])}
    header = json.loads(bytes(codec(name).encode(Frame(noise(PixelFormat.Mono8), PixelFormat.Mono8, meta=meta))[-2]))
    assert (header["x"], header["n"], header["at"]) == (0.5, 3, [1, 2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("meta", "cause"),
    [
        ({"a": object()}, "metadata cannot be JSON"),
        ({"a": {(1, 2): 3}}, "metadata cannot be JSON"),
        ({"a": "\ud800"}, "metadata cannot be JSON"),
        ({"a": "x" * 70_000}, "large header"),
    ],
)
def test_metadata_that_cannot_be_sent(name: str, meta: dict[str, Any], cause: str) -> None:
    with pytest.raises(WireError) as error:
        codec(name).encode(Frame(noise(PixelFormat.Mono8), PixelFormat.Mono8, meta=meta))
    assert error.value.cause == cause


@pytest.mark.parametrize("name", JSON)
def test_nothing_is_allocated_for_what_a_header_only_claims(name: str) -> None:
    parts = codec(name).encode(Frame(noise(PixelFormat.RGB8), PixelFormat.RGB8))
    header = json.loads(bytes(parts[-2])) | {"shape": [20_000, 20_000, 3]}
    claim = [*parts[:-2], json.dumps(header).encode(), parts[-1]]
    tracemalloc.start()
    for limit, cause in ((1 << 20, "large frame"), (1 << 40, "short payload")):
        with pytest.raises(WireError) as error:
            codec(name, limit).decode(claim)
        assert error.value.cause == cause
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_is_that_of_the_image(name: str) -> None:
    parts = codec(name).encode(Frame(noise(PixelFormat.RGB8, 10, 10), PixelFormat.RGB8))
    assert codec(name, 300).decode(parts) is not None
    with pytest.raises(WireError, match="large frame"):
        codec(name, 299).decode(parts)


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "header is not a JSON object"),
        (b"{", "header is not a JSON object"),
        (b"[]", "header is not a JSON object"),
        (b'"a"', "header is not a JSON object"),
        (b"\xff\xfe", "header is not a JSON object"),
        (b'{"a": "\xff"}', "header is not a JSON object"),
        (b'{"a": NaN}', "header is not a JSON object"),
        (b'{"a": 1e999}', "header is not a JSON object"),
        (b'{"a": ' + b"9" * 60_000 + b"}", "header is not a JSON object"),
        (b'{"a":' * 10_000, "header is not a JSON object"),
        (b"[" * 60_000, "header is not a JSON object"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "large header"),
    ],
)
def test_headers_that_are_none(name: str, text: bytes, cause: str) -> None:
    with pytest.raises(WireError) as error:
        codec(name).decode([text, b""])
    assert error.value.cause == cause


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_wrong_number_of_parts(name: str, count: int) -> None:
    if count == 1 and name in ("dectris-v2", "netgear"):
        pytest.skip("one part is what it has")
    with pytest.raises(WireError) as error:
        codec(name).decode([b"{}"] * count)
    assert error.value.cause == "wrong number of parts"


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 10**4000])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            *PixelFormat.__members__,
            "uint8",
            "uint16",
            "object",
            "little",
            "big",
            "array-1.0",
            "jpeg",
            "lz4",
            "zstd",
            "end",
        ]
    )
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
keys = st.sampled_from(
    [
        *("htype", "type", "dtype", "shape", "frame", "endianness", "endianess", "encoding", "compression"),
        *("terminate_flag", "pixel_format", "ndattr", "ssf", "kind", "epoch", "msg"),
    ]
)
changes = st.dictionaries(
    keys, values | st.lists(st.integers(-2, 9), max_size=4) | st.dictionaries(
        st.sampled_from(["ColorMode", "BayerPattern"]), scalars | st.integers(-1, 8)
    ), max_size=3
)  # fmt: skip


def _jpeg() -> bytes:
    encoded, data = cv2.imencode(".jpg", noise(PixelFormat.BGR8, 16, 24))
    assert encoded
    return data.tobytes()


@st.composite
def messages(draw: st.DrawFn, name: str) -> list[Buffer]:
    """A valid message with some of its header's keys changed or missing, its bytes changed, its parts moved."""
    kind = draw(st.sampled_from([each for each in PixelFormat if encodable(name, each)]))
    parts = [bytes(part) for part in codec(name).encode(Frame(noise(kind), kind, 1, 1, META))]
    header = json.loads(parts[-2])
    if name == "imagezmq" and draw(st.booleans()):
        header, parts[-1] = {"msg": ""}, _jpeg()
    if name == "netgear" and draw(st.booleans()):
        header, parts[-1] = header | {"compression": {"dct": True}, "dtype": "", "shape": ""}, _jpeg()
    for key in draw(st.lists(st.sampled_from(sorted(header)), max_size=2)):
        header.pop(key, None)
    parts[-2] = json.dumps(header | draw(changes)).encode()  # as likely as not, it says that raw pixels are compressed
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        part = bytearray(parts[at])
        start, end = draw(st.integers(0, len(part))), draw(st.integers(0, 3))
        part[start : start + end] = draw(st.binary(max_size=4))
        parts[at] = bytes(part)
    if draw(st.integers(0, 4)) == 0:
        parts = draw(st.lists(st.sampled_from(parts), max_size=4))
    if draw(st.integers(0, 4)) == 0:
        text = parts[0] if parts else b""
        parts = [b"SSF1" + len(text).to_bytes(4, "little") + b"".join(parts)]
    return list(parts)


def accepts_or_refuses(name: str, parts: Sequence[Buffer]) -> None:
    frame, refused = None, None
    try:
        frame = codec(name, LIMIT).decode(parts)
    except WireError as error:
        refused = error
    if refused is not None:
        assert 0 < len(refused.cause) < 40
        assert len(str(refused)) < 1000
    if frame is not None:
        assert frame.image.nbytes <= LIMIT
        assert frame.image.dtype.isnative
        again = codec(name, LIMIT).decode(codec(name).encode(replace(frame, seq=max(0, frame.seq))))
        assert again is not None
        np.testing.assert_array_equal(again.image, frame.image)


@pytest.mark.parametrize("name", JSON)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_mutated_messages_are_frames_or_refused(name: str, data: st.DataObject) -> None:
    accepts_or_refuses(name, data.draw(messages(name)))


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=100)
@given(parts=st.lists(st.binary(max_size=64), max_size=4))
def test_random_messages_are_frames_or_refused(name: str, parts: list[bytes]) -> None:
    accepts_or_refuses(name, parts)
