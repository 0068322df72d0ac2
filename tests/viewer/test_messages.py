"""What viewers and server say to each other."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
from stainstream.errors import WireError
from stainstream.viewer.messages import (
    WHOLE,
    FrameHeader,
    Look,
    Ping,
    Probe,
    Ready,
    Record,
    Switch,
    pack,
    request,
    unpack,
)

HEADER = FrameHeader(
    seq=7,
    captured_ns=1 << 62,
    width=640,
    height=480,
    scale=1.5,
    raw=(0, 0, 640, 480),
    normalized=None,
    sizes=(3, 0),
    model={"name": "m"},
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('{"op": "ready"}', Ready(1)),
        ('{"op": "ready", "credit": 2}', Ready(2)),
        ('{"op": "look"}', Look(WHOLE, WHOLE, 1.0, 85, None)),
        ('{"op": "look", "raw": null, "normalized": [1, 2, 3, 4], "scale": 2, "quality": 95, "again": 9}',
         Look(None, (1, 2, 3, 4), 2.0, 95, 9)),
        ('{"op": "ping", "sent": 1.5}', Ping(1.5)),
        ('{"op": "probe", "frame": 3, "x": 1, "y": 2}', Probe(3, 1, 2)),
        ('{"op": "switch", "model": "m"}', Switch("m")),
        ('{"op": "record", "on": true}', Record(True)),
    ],
)  # fmt: skip
def test_requests(text: str, meant: object) -> None:
    assert request(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"op": "shutdown"}',
        '{"op": "ready", "credit": 3}',
        '{"op": "ready", "credit": 0}',
        '{"op": "look", "raw": [0, 0, -1, 5]}',
        '{"op": "look", "raw": [0, 0, 5]}',
        '{"op": "look", "scale": 0.5}',
        '{"op": "look", "quality": 101}',
        '{"op": "look", "path": "/etc/passwd"}',
        '{"op": "record"}',
        "\ud800",
    ],
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(WireError, match="unusable message"):
        request(text.encode(errors="surrogatepass"))


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    for read in (request, unpack):
        with contextlib.suppress(WireError):
            read(data)


def test_a_frame_is_packed_and_unpacked() -> None:
    message = pack(HEADER, b"jpg", b"")
    assert message[:4] == b"SSV1"
    assert unpack(message) == (HEADER, b"jpg", b"")


@given(st.integers(0, 300), st.binary(max_size=5))
def test_a_damaged_frame_is_refused(at: int, instead: bytes) -> None:
    whole = pack(HEADER, b"jpg", b"")
    with pytest.raises(WireError):
        unpack(whole[: min(at, len(whole) - 1)])
    with contextlib.suppress(WireError):
        unpack(whole[:at] + instead + whole[at + len(instead) :])
