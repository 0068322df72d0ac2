"""Our own format."""

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
from stainstream.wire.base import Buffer
from stainstream.wire.native import Native

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def sent(native: Native | None = None, /, **meta: Any) -> list[bytes]:
    frame = Frame(PIXELS, PixelFormat.RGB8, 9, time.monotonic_ns() - 5_000_000_000, meta)
    return [bytes(part) for part in (native or Native()).encode(frame)]


def changed(**changes: Any) -> list[Buffer]:
    topic, header, payload = sent()
    return [topic, json.dumps(json.loads(header) | changes).encode(), payload]


def single(header: bytes, payload: bytes) -> bytes:
    return b"SSF1" + struct.pack("<I", len(header)) + header + payload


def test_the_header_says_it_all() -> None:
    topic, text, payload = sent(Native(topic="camera0/normalized", source="camera0"), slide="S")
    header = json.loads(text)
    assert topic == b"camera0/normalized"
    assert payload == PIXELS.tobytes()
    assert header["ssf"] == 1
    assert header["kind"] == "frame"
    assert header["pixel_format"] == "RGB8"
    assert (header["frame"], header["source"], header["slide"]) == (9, "camera0", "S")
    assert header["t_mono_ns"] == pytest.approx(time.monotonic_ns() - 5e9, abs=1e9)
    assert header["t_utc_ns"] == pytest.approx(time.time_ns() - 5e9, abs=1e9)
    assert header["host"]


def test_it_is_array10() -> None:
    _, *parts = sent(slide="S")
    frame = Array10().decode(parts)
    assert frame is not None
    np.testing.assert_array_equal(frame.image, PIXELS)
    assert (frame.seq, frame.format, frame.meta["slide"]) == (9, PixelFormat.RGB8, "S")


def test_array10_is_understood() -> None:
    parts = Array10().encode(Frame(PIXELS, PixelFormat.RGB8, 9, 1, {"slide": "S"}))
    frame = Native().decode(parts)
    assert frame is not None
    assert (frame.seq, frame.meta["slide"]) == (9, "S")


@pytest.mark.parametrize("parts", [3, 2, 1])
def test_with_or_without_topic_or_in_one_part(parts: int) -> None:
    topic, header, payload = sent()
    message = {3: [topic, header, payload], 2: [header, payload], 1: [single(header, payload)]}[parts]
    frame = Native().decode(message)
    assert frame is not None
    np.testing.assert_array_equal(frame.image, PIXELS)
    assert frame.seq == 9
    assert not {"ssf", "kind", "htype", "shape", "frame"} & set(frame.meta)


def test_captured_is_when_it_arrived() -> None:
    before = time.monotonic_ns()
    frame = Native().decode(sent())
    assert frame is not None
    assert before <= frame.captured_ns <= time.monotonic_ns()


def test_an_epoch_is_that_of_a_sender() -> None:
    native = Native()
    epochs = [json.loads(sent(each)[1])["epoch"] for each in (native, native, Native())]
    assert epochs[0] == epochs[1] != epochs[2]
    assert len(epochs[0]) == 32


def test_upstream_times_win() -> None:
    upstream = {"t_utc_ns": 1, "t_mono_ns": 2, "t_device": 3, "host": "scope-1", "epoch": "e", "source": "s"}
    frame = Native().decode(sent(**upstream))
    assert frame is not None
    header = json.loads(sent(**frame.meta)[1])
    assert {key: header[key] for key in upstream} == upstream


@pytest.mark.parametrize("upstream", [{"host": "scope-1"}, {"t_mono_ns": 2}])
def test_a_monotonic_time_is_never_given_another_host(upstream: dict[str, Any]) -> None:
    header = json.loads(sent(**upstream)[1])
    assert {key: header[key] for key in ("host", "t_mono_ns") if key in header} == upstream


@pytest.mark.parametrize("kind", ["start", "end", "status"])
def test_control_messages_are_no_frames(kind: str) -> None:
    header = json.dumps({"htype": "array-1.0", "ssf": 1, "kind": kind, "captured": 3}).encode()
    assert Native().decode([b"topic", header, b""]) is None
    assert Native().decode([header, b""]) is None
    assert Native().decode([single(header, b"")]) is None


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (changed(ssf=2), "unknown version"),
        (changed(ssf=2, kind="end"), "unknown version"),
        (changed(ssf="1"), "wrong header"),
        (changed(ssf=True), "wrong header"),
        (changed(kind="picture"), "wrong header"),
        (changed(encoding="gzip"), "unsupported encoding"),
        (changed(shape=[2, 4, 4]), "short payload"),
        ([b"SSF1"], "wrong number of parts"),
        ([b"SSF2" + bytes(100)], "wrong number of parts"),
        ([b"SSF1" + struct.pack("<I", 200) + bytes(100)], "large header"),
        ([b"SSF1" + struct.pack("<I", 0xFFFFFFFF) + bytes(100)], "large header"),
        ([b"SSF1" + struct.pack("<I", 70_000) + bytes(80_000)], "large header"),
        ([b"SSF1" + struct.pack("<I", 0) + bytes(100)], "header is not a JSON object"),
        ([single(sent()[1], PIXELS.tobytes()[1:])], "short payload"),
    ],
)
def test_what_is_refused(message: list[Buffer], cause: str) -> None:
    with pytest.raises(WireError) as error:
        Native().decode(message)
    assert error.value.cause == cause


def test_one_part() -> None:
    frame = Frame(PIXELS, PixelFormat.RGB8, 9, 1, {"slide": "S"})
    (part,) = Native(single=True).encode(frame)
    length = struct.unpack_from("<I", part, 4)[0]
    assert (part[:4], (8 + length) % 8) == (b"SSF1", 0)
    assert json.loads(bytes(part[8 : 8 + length]))["slide"] == "S"
    assert part[8 + length :] == PIXELS.tobytes()
    back = Native().decode([part])
    assert back is not None
    assert (back.seq, back.image.tolist()) == (9, PIXELS.tolist())


@pytest.mark.parametrize("single", [True, False])
def test_start_status_and_end(single: bool) -> None:
    native = Native(single=single, topic="t")
    frame = Frame(PIXELS, PixelFormat.RGB8, 9, 1, {"model": {"name": "m", "sha256": "d"}})
    counts = {"frames": 3, "sent": 2, "dropped": {"no consumer took it": 1}, "frame": 11}
    said = [native.start(frame), native.status(counts), native.end(counts)]
    headers = []
    for parts in said:
        assert Native().decode(parts) is None
        if not single:
            assert (parts[0], parts[2]) == (b"t", b"")
        headers.append(json.loads(bytes(parts[0])[8:] if single else bytes(parts[1])))
    assert [each["kind"] for each in headers] == ["start", "status", "end"]
    assert len({each["epoch"] for each in headers}) == 1
    assert (headers[0]["pixel_format"], headers[0]["shape"], headers[0]["model"]["sha256"]) == ("RGB8", [2, 4, 3], "d")
    for each in headers[1:]:
        assert each["frames"] == each["sent"] + sum(each["dropped"].values())
        assert each["t_utc_ns"] == pytest.approx(time.time_ns(), abs=60e9)


def test_device_time() -> None:
    header = json.loads(sent(device_ns=5)[1])
    assert (header["t_device"], header["t_device_hz"], header["device_ns"]) == (5, 10**9, 5)
