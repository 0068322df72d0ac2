"""array-1.0, by its specification and as EPICS' ADZMQ sends it."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import numpy as np
import pytest

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.wire.array10 import Array10

HEADER: dict[str, Any] = {"htype": "array-1.0", "type": "uint8", "shape": [2, 4, 3], "frame": 7}


def message(changes: dict[str, Any] | None = None, payload: bytes | None = None) -> list[bytes]:
    header = HEADER | (changes or {})
    size = int(np.prod(header["shape"])) * np.dtype(header["type"]).itemsize
    return [json.dumps(header).encode(), bytes(range(size)) if payload is None else payload]


def cause(parts: list[bytes]) -> str:
    with pytest.raises(WireError) as error:
        Array10().decode(parts)
    return error.value.cause


def decoded(parts: list[bytes]) -> Frame:
    frame = Array10().decode(parts)
    assert frame is not None
    return frame


def test_what_adzmq_sends() -> None:
    header = {
        "htype": "array-1.0",
        "type": "uint16",
        "shape": [2, 3],
        "frame": 4711,
        "timeStamp": 1161612345.25,
        "encoding": "",
        "ndattr": {"ColorMode": 1, "BayerPattern": 2, "Gain": 1.5, "DriverVersion": "1.2"},
    }
    before = time.monotonic_ns()
    frame = decoded([json.dumps(header).encode(), struct.pack("<6H", *range(0, 60_000, 10_000))])
    assert (frame.format, frame.seq) == (PixelFormat.BayerGR16, 4711)
    assert before <= frame.captured_ns <= time.monotonic_ns()
    assert frame.image.tolist() == [[0, 10_000, 20_000], [30_000, 40_000, 50_000]]
    assert frame.meta == {"timeStamp": 1161612345.25, "ndattr": header["ndattr"]}


@pytest.mark.parametrize(
    ("changes", "format"),
    [
        ({"shape": [4, 6]}, "Mono8"),
        ({"shape": [4, 6, 3]}, "RGB8"),
        ({"shape": [3, 4, 6]}, "RGB8_Planar"),
        ({"shape": [3, 6, 3]}, "RGB8"),
        ({"shape": [4, 6], "type": "uint16"}, "Mono16"),
        ({"shape": [3, 4, 6], "type": "uint16"}, "RGB16_Planar"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 0}}, "Mono8"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 1}}, "BayerRG8"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 1, "BayerPattern": 0}}, "BayerRG8"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 1, "BayerPattern": 1}}, "BayerGB8"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 1, "BayerPattern": 2}}, "BayerGR8"),
        ({"shape": [4, 6], "ndattr": {"ColorMode": 1, "BayerPattern": 3}}, "BayerBG8"),
        ({"shape": [4, 6, 3], "ndattr": {"ColorMode": 2}}, "RGB8"),
        ({"shape": [3, 6, 3], "ndattr": {"ColorMode": 4}}, "RGB8_Planar"),
        ({"shape": [4, 6], "type": "uint16", "pixel_format": "Mono12"}, "Mono12"),
        ({"shape": [4, 6, 3], "pixel_format": "BGR8", "ndattr": {"ColorMode": 2}}, "BGR8"),
        ({"shape": [4, 6, 4], "pixel_format": "RGBa8"}, "RGBa8"),
        ({"encoding": None}, "RGB8"),
        ({"ndattr": {}}, "RGB8"),
    ],
)
def test_pixel_formats(changes: dict[str, Any], format: str) -> None:
    frame = decoded(message(changes))
    assert frame.format.value == format
    assert list(frame.image.shape) == changes.get("shape", HEADER["shape"])
    assert frame.image.tobytes()[:24] == bytes(range(24))


def test_rgb2_has_its_colors_in_the_middle() -> None:
    pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    payload = pixels.transpose(0, 2, 1).tobytes()
    frame = decoded(message({"shape": [2, 3, 4], "ndattr": {"ColorMode": 3}}, payload))
    assert frame.format is PixelFormat.RGB8
    np.testing.assert_array_equal(frame.image, pixels)


@pytest.mark.parametrize("key", ["endianness", "endianess"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_both_byte_orders_in_both_spellings(key: str, order: str) -> None:
    payload = struct.pack(f"{'<' if order == 'little' else '>'}6H", *range(1000, 7000, 1000))
    frame = decoded(message({"type": "uint16", "shape": [2, 3], key: order}, payload))
    assert frame.image.tolist() == [[1000, 2000, 3000], [4000, 5000, 6000]]
    assert frame.image.dtype.isnative
    assert key not in frame.meta


def test_words_at_odd_addresses() -> None:
    header, payload = message({"type": "uint16", "shape": [2, 3]}, struct.pack("<6H", *range(6)))
    frame = Array10().decode([header, memoryview(b"." + payload)[1:]])
    assert frame is not None
    assert frame.image.flags.aligned
    assert frame.image.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"htype": "array-2.0"}, "unknown htype"),
        ({"htype": None}, "wrong header"),
        ({"encoding": "bslz4"}, "unsupported encoding"),
        ({"encoding": "blosc"}, "unsupported encoding"),
        ({"encoding": ["lz4"]}, "wrong header"),
        ({"type": "float64"}, "unsupported type"),
        ({"type": "int8"}, "unsupported type"),
        ({"endianness": "middle"}, "wrong header"),
        ({"frame": -1}, "wrong header"),
        ({"frame": 1 << 63}, "wrong header"),
        ({"frame": True}, "wrong header"),
        ({"frame": 7.0}, "wrong header"),
        ({"pixel_format": "RGB9"}, "unknown pixel format"),
        ({"pixel_format": "Mono8"}, "pixels do not fit"),
        ({"pixel_format": "RGB16"}, "pixels do not fit"),
        ({"pixel_format": ["RGB8"]}, "wrong header"),
        ({"shape": [2, 3, 4]}, "unknown color mode"),
        ({"ndattr": {"ColorMode": 0}}, "pixels do not fit"),
        ({"ndattr": {"ColorMode": 3}}, "pixels do not fit"),
        ({"ndattr": {"ColorMode": 5}}, "unknown color mode"),
        ({"ndattr": {"ColorMode": -1}}, "wrong header"),
        ({"ndattr": {"ColorMode": 10**400}}, "wrong header"),
        ({"ndattr": {"ColorMode": 1, "BayerPattern": 4}}, "unknown color mode"),
        ({"ndattr": {"ColorMode": 1, "BayerPattern": -(10**400)}}, "wrong header"),
        ({"ndattr": {"ColorMode": "RGB1"}}, "wrong header"),
        ({"ndattr": []}, "wrong header"),
        ({"shape": [24]}, "wrong header"),
        ({"shape": [1, 2, 4, 3]}, "wrong header"),
        ({"shape": [2, 4, 0]}, "wrong header"),
        ({"shape": [-2, -4, 3]}, "wrong header"),
        ({"shape": [2, True, 3]}, "wrong header"),
        ({"shape": [2, 4.0, 3]}, "wrong header"),
        ({"shape": ["2", "4", "3"]}, "wrong header"),
        ({"shape": [10**4000, 2, 3]}, "wrong header"),
        ({"shape": [1 << 31, 1 << 31, 3]}, "large frame"),
        ({"shape": [2, 5, 3]}, "short payload"),
        ({"shape": [2, 3, 3]}, "long payload"),
        ({"shape": None}, "wrong header"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert cause([json.dumps(HEADER | changes).encode(), bytes(24)]) == expected


@pytest.mark.parametrize("key", ["htype", "type", "shape"])
def test_what_must_be_there(key: str) -> None:
    header = {name: value for name, value in HEADER.items() if name != key}
    assert cause([json.dumps(header).encode(), bytes(24)]) == "wrong header"


def test_what_we_send_is_plain_array10() -> None:
    frame = Frame(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), PixelFormat.RGB8, 9, 1, {"slide": "S"})
    header, payload = Array10().encode(frame)
    said = json.loads(bytes(header))
    assert said["htype"] == "array-1.0"
    assert (said["type"], said["shape"], said["frame"], said["encoding"]) == ("uint8", [2, 4, 3], 9, "")
    assert said["endianness"] == "little"
    assert said["slide"] == "S"
    assert bytes(payload) == bytes(range(24))


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("RGB8", {"Gain": 2, "ColorMode": 2}),
        ("Mono8", {"Gain": 2, "ColorMode": 0}),
        ("BayerGB8", {"Gain": 2, "ColorMode": 1, "BayerPattern": 1}),
        ("RGB8_Planar", {"Gain": 2, "ColorMode": 4}),
        ("BGR8", {"Gain": 2}),
        ("RGBa8", {"Gain": 2}),
    ],
)
def test_the_color_mode_is_that_of_the_pixels_sent(format: str, expected: dict[str, int]) -> None:
    """A Bayer camera's frame, once it was normalized, is none any more; its other attributes stay."""
    kind = PixelFormat(format)
    meta = {"ndattr": {"ColorMode": 1, "BayerPattern": 3, "Gain": 2}}
    header = Array10().encode(Frame(np.zeros(kind.shape(2, 4), kind.dtype), kind, 0, 1, meta))[0]
    assert json.loads(bytes(header))["ndattr"] == expected


def test_attributes_that_are_none_are_left_out() -> None:
    frame = Frame(np.zeros((2, 2), np.uint8), PixelFormat.Mono8, 0, 1, {"ndattr": "odd"})
    assert json.loads(bytes(Array10().encode(frame)[0]))["ndattr"] == {"ColorMode": 0}
