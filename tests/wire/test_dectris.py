"""DECTRIS Stream V2, against messages as cbor2 writes them and as the vendor's documentation has them."""

from __future__ import annotations

import struct
import sys
import time
import tracemalloc
from typing import Any

import cbor2
import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stainstream.errors import MissingExtra, WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.registry import Plugin
from stainstream.wire import TABLE
from stainstream.wire.dectris import Dectris

GRAY = np.arange(6, dtype=np.uint8).reshape(2, 3)
WORDS = np.arange(0, 48_000, 1000, dtype=np.uint16).reshape(6, 8)


def tag(number: int, value: Any) -> cbor2.CBORTag:
    return cbor2.CBORTag(number, value)


def array(image: np.ndarray[Any, Any], number: int = 0, data: Any = None, multi: int = 40) -> cbor2.CBORTag:
    number = number or {1: 64, 2: 69}[image.itemsize]
    return tag(multi, [list(image.shape), tag(number, image.tobytes() if data is None else data)])


def message(data: Any = None, **changes: Any) -> bytes:
    """An image's message, its fields in the order of the vendor's table."""
    said = {
        "type": "image",
        "series_id": 7,
        "series_unique_id": "01GQ0V6RR6XKW6JV3HZ4ZF5B0W",
        "image_id": 41,
        "real_time": [4_999_960, 50_000_000],
        "series_date": tag(0, "2026-11-25T12:00:00.500Z"),
        "start_time": [25_000_000, 50_000_000],
        "stop_time": [29_999_960, 50_000_000],
        "user_data": {"slide": "S"},
        "data": {"threshold_1": array(GRAY)} if data is None else data,
    } | changes
    return cbor2.dumps({key: value for key, value in said.items() if value is not ...})


def decoded(data: Any = None, **changes: Any) -> Frame:
    frame = Dectris().decode([message(data, **changes)])
    assert frame is not None
    return frame


def cause(part: bytes, limit: int = 1 << 20) -> str:
    with pytest.raises(WireError) as error:
        Dectris(max_frame_bytes=limit).decode([part])
    return error.value.cause


def lz4_of(raw: bytes, block: int = 16) -> bytes:
    """HDF5's framing of LZ4."""
    blocks = [lz4.block.compress(raw[at : at + block], store_size=False) for at in range(0, len(raw), block)]
    stored = [min(each, raw[n * block :][:block], key=len) for n, each in enumerate(blocks)]
    return struct.pack(">QI", len(raw), block) + b"".join(struct.pack(">I", len(each)) + each for each in stored)


def bslz4_of(image: np.ndarray[Any, Any]) -> bytes:
    """HDF5's framing of bitshuffle and LZ4: the bits of one block, transposed; what is beyond eighths is appended."""
    flat, raw = image.reshape(-1), image.tobytes()
    whole = len(flat) // 8 * 8
    bits = np.unpackbits(flat[:whole].view(np.uint8), bitorder="little").reshape(whole, 8 * image.itemsize)
    shuffled = np.packbits(bits.T.copy(), bitorder="little").tobytes()
    packed = lz4.block.compress(shuffled, store_size=False)
    head = struct.pack(">QII", len(raw), whole * image.itemsize, len(packed))
    return bytes(head + packed + raw[whole * image.itemsize :])


def test_the_vendors_image_message() -> None:
    before = time.monotonic_ns()
    frame = decoded()
    assert (frame.format, frame.seq) == (PixelFormat.Mono8, 41)
    assert before <= frame.captured_ns <= time.monotonic_ns()
    np.testing.assert_array_equal(frame.image, GRAY)
    assert frame.meta == {
        "series_id": 7,
        "series_unique_id": "01GQ0V6RR6XKW6JV3HZ4ZF5B0W",
        "epoch": "01GQ0V6RR6XKW6JV3HZ4ZF5B0W",
        "series_date": "2026-11-25T12:00:00.500Z",
        "real_time": (4_999_960, 50_000_000),
        "start_time": (25_000_000, 50_000_000),
        "stop_time": (29_999_960, 50_000_000),
        "t_utc_ns": 1_795_608_001_000_000_000,
        "slide": "S",
    }


def test_start_and_end_are_no_frames() -> None:
    flatfield = array(np.ones((50, 60), np.float32), 85)
    start = {
        "type": "start",
        "arm_date": tag(0, "2026-11-25T12:00:00Z"),
        "channels": ["threshold_1"],
        "count_time": 0.1,
        "countrate_correction_lookup_table": tag(70, bytes(400_000)),
        "flatfield": {"threshold_1": flatfield},
        "goniometer": {"omega": {"increment": 0.1, "start": 0.0}},
        "image_dtype": "uint16",
        "image_size_x": 60,
        "image_size_y": 50,
        "number_of_images": 100,
        "series_id": 7,
    }
    assert Dectris().decode([cbor2.dumps(start)]) is None
    assert Dectris().decode([cbor2.dumps({"type": "end", "series_id": 7, "series_unique_id": "x"})]) is None


@pytest.mark.parametrize("number", [64, 68])
def test_bytes(number: int) -> None:
    np.testing.assert_array_equal(decoded({"a": array(GRAY, number)}).image, GRAY)


@pytest.mark.parametrize(("number", "order"), [(65, ">"), (69, "<")])
@pytest.mark.parametrize("multi", [40, 1040])
def test_words_of_both_orders_by_rows_and_columns(number: int, order: str, multi: int) -> None:
    stored = WORDS if multi == 40 else WORDS.T
    data = np.ascontiguousarray(stored).astype(order + "u2").tobytes()
    frame = decoded({"a": array(WORDS, number, data, multi)})
    assert (frame.format, frame.image.dtype.isnative) == (PixelFormat.Mono16, True)
    np.testing.assert_array_equal(frame.image, WORDS)


@pytest.mark.parametrize("number", [66, 67, *range(70, 88), 99])
def test_other_numbers_are_refused_by_name(number: int) -> None:
    assert cause(message({"a": array(GRAY, number)})) == "unsupported type"


def test_color() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert decoded({"image": array(pixels)}).format is PixelFormat.RGB8
    for names in ("red", "green", "blue"), ("R", "G", "B"):
        planes = {name: array(np.ascontiguousarray(pixels[..., n])) for n, name in reversed([*enumerate(names)])}
        frame = decoded(planes)
        assert frame.format is PixelFormat.RGB8
        np.testing.assert_array_equal(frame.image, pixels)


def test_user_data_tell_the_pixel_format() -> None:
    frame = decoded(user_data={"pixel_format": "BayerGB8", "odd": tag(99, b"x"), "n": 1 << 70, "l": [1, {"a": None}]})
    assert frame.format is PixelFormat.BayerGB8
    assert {key: frame.meta[key] for key in ("odd", "n", "l")} == {"odd": None, "n": None, "l": [1, {"a": None}]}
    assert decoded(user_data="S-1").meta["user_data"] == "S-1"


@pytest.mark.parametrize("image", [WORDS, WORDS[:, :7].astype(np.uint8), np.zeros((40, 50), np.uint16)])
def test_compressed(image: np.ndarray[Any, Any]) -> None:
    pytest.importorskip("dectris.compression")
    for value in (["lz4", 0, lz4_of(image.tobytes())], ["bslz4", image.itemsize, bslz4_of(image)]):
        frame = decoded({"a": array(image, data=tag(56500, value))})
        np.testing.assert_array_equal(frame.image, image)


def packed(value: Any, number: int = 56500) -> bytes:
    return message({"a": array(WORDS, data=tag(number, value))})


def test_bombs_and_damage() -> None:
    pytest.importorskip("dectris.compression")
    good = lz4_of(WORDS.tobytes())
    assert cause(packed(["lz4", 0, struct.pack(">QI", 1 << 40, 1 << 30) + good[12:]])) == "large frame"
    assert cause(packed(["lz4", 0, struct.pack(">QI", 95, 16) + good[12:]])) == "short payload"
    assert cause(packed(["lz4", 0, struct.pack(">QI", 97, 16) + good[12:]])) == "long payload"
    assert cause(packed(["lz4", 0, good[:-1]])) == "corrupt lz4"
    assert cause(packed(["bslz4", 2, good])) == "corrupt bslz4"
    assert cause(packed(["bslz4", 0, good])) == "corrupt bslz4"
    assert cause(packed(["bslz4", 1 << 70, good])) == "wrong header"
    assert cause(packed(["bszstd", 2, good])) == "unsupported encoding"
    assert cause(packed(["lz4", 0, "text"])) == "wrong header"
    assert cause(packed(good)) == "wrong header"
    assert cause(packed(["lz4", 0, good], 56501)) == "wrong header"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dectris.compression", None)
    with pytest.raises(WireError, match=r"pip install 'stainstream\[dectris\]'") as error:
        Dectris().decode([packed(["lz4", 0, lz4_of(WORDS.tobytes())])])
    assert error.value.cause == "unsupported encoding"
    row = TABLE["dectris-v2"]
    assert row.missing is None
    absent: Plugin[Any] = Plugin(row.name, row.target, row.summary, needs=("cbor2_that_is_not",), extra=row.extra)
    with pytest.raises(MissingExtra, match=r"pip install 'stainstream\[dectris\]'"):
        absent.load()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (b"", "message is not a CBOR map"),
        (b"\x80", "message is not a CBOR map"),
        (cbor2.dumps({"type": "image"})[:-1], "message is not a CBOR map"),
        (b"\x81" * 1000 + b"\0", "message is not a CBOR map"),
        (b"\x9b" + b"\xff" * 8, "message is not a CBOR map"),
        (b"\xa1\x01\x02", "message is not a CBOR map"),
        (b"{}", "message is not a CBOR map"),
        (cbor2.dumps({"type": "picture"}), "wrong header"),
        (cbor2.dumps({"kind": "image"}), "wrong header"),
        (message(image_id=...), "wrong header"),
        (message(image_id=-1), "wrong header"),
        (message(image_id=1 << 63), "wrong header"),
        (message(image_id=True), "wrong header"),
        (message(series_date=tag(0, 5)), "wrong header"),
        (message(start_time=[1]), "wrong header"),
        (message(start_time=[-1, 1]), "wrong header"),
        (message([]), "wrong header"),
        (message({}), "unknown pixel format"),
        (message({"a": array(GRAY), "b": array(GRAY)}), "unknown pixel format"),
        (message({"r": array(GRAY), "g": array(GRAY), "b": array(GRAY[:1])}), "pixels do not fit"),
        (message({"a": GRAY.tobytes()}), "wrong header"),
        (message({"a": tag(64, GRAY.tobytes())}), "wrong header"),
        (message({"a": tag(40, [[2, 3], GRAY.tobytes()])}), "wrong header"),
        (message({"a": tag(40, [[2, 3], tag(64, [1, 2, 3, 4, 5, 6])])}), "wrong header"),
        (message({"a": tag(40, [[6], tag(64, GRAY.tobytes())])}), "wrong header"),
        (message({"a": tag(40, [[2, -3], tag(64, GRAY.tobytes())])}), "wrong header"),
        (message({"a": tag(40, [[1 << 31, 1 << 31], tag(64, GRAY.tobytes())])}), "large frame"),
        (message({"a": tag(40, [[2, 4], tag(64, GRAY.tobytes())])}), "short payload"),
        (message({"a": tag(40, [[2, 2], tag(64, GRAY.tobytes())])}), "long payload"),
        (message({"a": tag(40, [[1, 3, 2], tag(64, GRAY.tobytes())])}), "pixels do not fit"),
        (message(user_data={"pixel_format": "RGB9"}), "unknown pixel format"),
        (message(user_data={"pixel_format": "RGB8"}), "pixels do not fit"),
        (message(user_data="x" * 70_000), "large header"),
    ],
)
def test_what_is_refused(part: bytes, expected: str) -> None:
    assert cause(part) == expected


def test_dates_that_are_none_are_passed_over() -> None:
    for changes in ({"series_date": tag(0, "soon")}, {"start_time": [1, 0]}, {"start_time": [(1 << 63) - 1, 1]}):
        assert "t_utc_ns" not in decoded(**changes).meta


def test_what_other_tags_would_make_is_not_made() -> None:
    """Numbers without bounds, regular expressions, mail, references to oneself."""
    odd = [tag(5, [10**9, 3]), tag(4, [10**12, 3]), tag(30, [1, 0]), tag(35, "(a+)+"), tag(36, "x"), tag(2, bytes(999))]
    assert decoded(user_data={"odd": odd}).meta["odd"][3] == "(a+)+"
    looped = b"\xa2\x64type\x63end\x61a\xd8\x1c\x81\xd8\x1d\x00"
    assert Dectris().decode([looped]) is None


def test_a_message_of_a_million_small_things_is_not_unpacked() -> None:
    part = b"\xa2\x64type\x65start\x61a\x9a\x00\x0f\x42\x40" + b"\x80" * 1_000_000
    tracemalloc.start()
    assert cause(part) == "large header"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 18


def test_what_we_send_is_what_the_vendor_has() -> None:
    """Decoded by cbor2 alone, as the vendor's example client does."""
    frame = Frame(WORDS, PixelFormat.Mono12, 9, time.monotonic_ns() - 10**9, {"slide": "S"})

    def unpack(each: cbor2.CBORTag, immutable: bool) -> Any:
        if each.tag == 40:
            return each.value[1].reshape(each.value[0])
        return np.frombuffer(each.value, {64: "u1", 69: "<u2", 65: ">u2"}[each.tag])

    dectris = Dectris()
    said = [cbor2.loads(dectris.encode(frame)[0], tag_hook=unpack) for _ in range(2)]
    assert next(iter(said[0])) == "type"
    assert (said[0]["type"], said[0]["image_id"]) == ("image", 9)
    np.testing.assert_array_equal(said[0]["data"]["image"], WORDS)
    assert said[0]["user_data"] == {"slide": "S", "pixel_format": "Mono12"}
    assert said[0]["series_unique_id"] == said[1]["series_unique_id"]
    assert said[0]["series_date"].timestamp() == pytest.approx(time.time(), abs=60)
    assert said[0]["start_time"][1] == 1_000_000_000


def test_series_and_times_are_passed_on() -> None:
    again = Dectris().decode(Dectris().encode(decoded()))
    assert again is not None
    assert again.meta == decoded().meta


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_mutated_messages_are_frames_or_refused(data: st.DataObject) -> None:
    good = [message(), message({"a": array(WORDS, data=tag(56500, ["lz4", 0, lz4_of(WORDS.tobytes())]))})]
    part = bytearray(data.draw(st.sampled_from(good)))
    for _ in range(data.draw(st.integers(1, 4))):
        at, cut = data.draw(st.integers(0, len(part))), data.draw(st.integers(0, 3))
        part[at : at + cut] = data.draw(st.binary(max_size=4))
    try:
        frame = Dectris(max_frame_bytes=4096).decode([bytes(part)])
    except WireError:
        return
    assert frame is None or frame.image.nbytes <= 4096
