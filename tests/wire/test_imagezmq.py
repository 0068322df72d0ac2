"""The format of the imagezmq package."""

from __future__ import annotations

import json
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from stainstream.compression import jpeg_shape
from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.wire.base import UNNUMBERED
from stainstream.wire.imagezmq import ImageZMQ

RED = np.full((16, 24, 3), (0, 0, 200), np.uint8)  # as OpenCV has it


def jpeg(image: np.ndarray[Any, Any], *options: int) -> bytes:
    done, data = cv2.imencode(".jpg", image, options)
    assert done
    return data.tobytes()


def decoded(header: dict[str, Any], payload: bytes, limit: int = 1 << 20) -> Frame:
    frame = ImageZMQ(max_frame_bytes=limit).decode([json.dumps(header).encode(), payload])
    assert frame is not None
    return frame


def cause(header: dict[str, Any], payload: bytes, limit: int = 1 << 20) -> str:
    with pytest.raises(WireError) as error:
        decoded(header, payload, limit)
    return error.value.cause


def test_raw_images_are_blue_first() -> None:
    frame = decoded({"msg": "rpi1", "dtype": "uint8", "shape": [16, 24, 3]}, RED.tobytes())
    assert (frame.format, frame.seq) == (PixelFormat.BGR8, UNNUMBERED)
    assert frame.meta == {"msg": "rpi1"}
    np.testing.assert_array_equal(frame.image, RED)


def test_what_we_send_is_blue_first() -> None:
    frame = Frame(RED[..., ::-1], PixelFormat.RGB8, 3, 1, {"msg": {"camera": 1}})
    header, payload = ImageZMQ().encode(frame)
    assert json.loads(bytes(header)) == {"msg": {"camera": 1}, "dtype": "uint8", "shape": [16, 24, 3]}
    assert bytes(payload) == RED.tobytes()


@pytest.fixture(params=["simplejpeg", "OpenCV"], autouse=True)
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the faster and stricter library, and without."""
    if request.param == "OpenCV":
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return str(request.param)


def test_damage_within_is_noticed(decoder: str) -> None:
    data = jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    cut = data[: len(data) // 2] + b"\xff\xd9"
    if decoder == "OpenCV":
        assert decoded({"msg": ""}, cut).image.shape == (64, 64, 3)
    else:
        assert cause({"msg": ""}, cut) == "corrupt JPEG"


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_jpeg(options: tuple[int, ...]) -> None:
    frame = decoded({"msg": "rpi1"}, jpeg(RED, *options))
    assert frame.format is PixelFormat.BGR8
    assert np.abs(frame.image.astype(int) - RED).max() <= 3


def test_gray_jpeg() -> None:
    frame = decoded({"msg": "rpi1"}, jpeg(RED[..., 2]))
    assert frame.format is PixelFormat.Mono8
    assert np.abs(frame.image.astype(int) - 200).max() <= 3


def test_padded_jpeg() -> None:
    assert decoded({"msg": ""}, jpeg(RED) + bytes(7)).image.shape == RED.shape


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"dtype": "float64"}, "unsupported type"),
        ({"dtype": "object"}, "unsupported type"),
        ({"dtype": "|O"}, "unsupported type"),
        ({"dtype": ["uint8"]}, "wrong header"),
        ({"dtype": None}, "unsupported type"),
        ({"shape": None}, "unsupported type"),
        ({"shape": [16, 24, 2]}, "long payload"),
        ({"shape": [16, 36, 2]}, "unknown pixel format"),
        ({"shape": [24, 12, 4], "dtype": "uint16"}, "short payload"),
        ({"shape": [16, 9, 4], "dtype": "uint16"}, "unknown pixel format"),
        ({"shape": [16, 24]}, "long payload"),
        ({"shape": [1152]}, "wrong header"),
        ({"shape": [16, 24, 0]}, "wrong header"),
    ],
)
def test_what_is_refused(header: dict[str, Any], expected: str) -> None:
    assert cause({"msg": "", "dtype": "uint8", "shape": [16, 24, 3]} | header, RED.tobytes()) == expected


def test_a_jpeg_is_measured_before_it_is_decoded() -> None:
    data = bytearray(jpeg(RED))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65535x65535, which would take 12 GB
    assert jpeg_shape(data) == (65535, 65535, 3)
    assert cause({"msg": ""}, bytes(data)) == "large frame"
    assert cause({"msg": ""}, jpeg(RED), limit=RED.nbytes - 1) == "large frame"
    assert decoded({"msg": ""}, jpeg(RED), limit=RED.nbytes).image.nbytes == RED.nbytes


def test_damaged_jpegs() -> None:
    data = jpeg(RED)
    size = data.index(b"\xff\xc0") + 5
    png = cv2.imencode(".png", RED)[1].tobytes()
    for damaged in (
        b"",
        data[:2],
        data[:60],
        data[:-2],
        data[:-20],
        png,
        png + b"\xff\xd9",
        b"\xff\xd8" + bytes(100) + b"\xff\xd9",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda" + data[4:],
        data[:size] + bytes(2) + data[size + 2 :],
        data[:size] + bytes(4) + data[size + 4 :],
        data[: size + 15] + b"\xff\xd9",
    ):
        assert cause({"msg": ""}, damaged) == "corrupt JPEG"


def test_fill_bytes_before_a_marker() -> None:
    data = jpeg(RED)
    at = data.index(b"\xff\xdb")
    assert decoded({"msg": ""}, data[:at] + b"\xff\xff\xff" + data[at:]).image.shape == RED.shape
