"""NetGear, against the real package of vidgear."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq

from stainstream.errors import WireError
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.zeromq import ZeroMQ as Sink
from stainstream.sources.zeromq import ZeroMQ as Feed
from stainstream.wire.netgear import NetGear

X, Y = np.meshgrid(np.arange(64), np.arange(48))
IMAGE = np.stack([4 * X, 4 * Y, 200 - X - Y], axis=-1).astype(np.uint8)
"""Blue first."""


def free_port() -> int:
    with zmq.Context() as context, context.socket(zmq.PULL) as probe:
        return int(probe.bind_to_random_port("tcp://127.0.0.1"))


@contextmanager
def netgear(port: int, **options: Any) -> Iterator[Any]:
    gears = pytest.importorskip("vidgear.gears", reason="vidgear is not installed")
    made = gears.NetGear(address="127.0.0.1", port=str(port), protocol="tcp", **options)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(("pattern", "ours"), [(1, "rep"), (2, "sub")])
def test_netgear_sends_to_us(pattern: int, ours: Any, compressed: bool) -> None:
    port = free_port()
    options = {"jpeg_compression": compressed, "jpeg_compression_quality": 100}
    with (
        Feed(f"zmq+tcp://127.0.0.1:{port}", Feed.Options(format="netgear", pattern=ours, bind=True)) as feed,
        netgear(port, pattern=pattern, receive_mode=False, logging=False, **options) as sender,
    ):
        ended = threading.Event()

        def send() -> None:
            while not ended.is_set():
                sender.send(IMAGE, message="scope 1")
                ended.wait(0.01)

        thread = threading.Thread(target=send)
        thread.start()
        frames = iter(feed)
        taken = [next(frames) for _ in range(3)]
        ended.set()
        if ours == "rep":  # the last request waits for its answer
            threading.Timer(0.5, feed.stop).start()
            list(frames)
        thread.join()
    assert [each.seq for each in taken] == [0, 1, 2]
    assert taken[0].format is PixelFormat.BGR8
    assert taken[0].meta["message"] == "scope 1"
    assert np.abs(taken[0].image.astype(int) - IMAGE).max() <= (6 if compressed else 0)
    assert not feed.rejected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("encoding", ["", "jpeg"])
def test_netgear_receives_from_us_until_the_end(encoding: Any) -> None:
    port = free_port()
    with netgear(port, pattern=2, receive_mode=True, logging=False, jpeg_compression=False) as receiver:
        sink = Sink(
            f"zmq+tcp://127.0.0.1:{port}", Sink.Options(format="netgear", bind=False, encoding=encoding, quality=100)
        )
        with sink:
            ended = threading.Event()

            def send() -> None:
                while not ended.is_set():
                    sink.write(Frame(IMAGE[..., ::-1], PixelFormat.RGB8, meta={"slide": "S"}))
                    ended.wait(0.01)

            thread = threading.Thread(target=send)
            thread.start()
            picture = receiver.recv()
            ended.set()
            thread.join()
        assert np.abs(picture.astype(int) - IMAGE).max() <= (8 if encoding else 0)  # its decoder is a fast one
        while picture is not None:
            picture = receiver.recv()  # what was under way, and then None, as we said that we end


def test_what_ends_a_stream_is_no_frame() -> None:
    assert NetGear().decode([b'{"terminate_flag": true, "port": "5555"}']) is None
    assert NetGear().decode(NetGear().end({})) is None


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b'{"terminate_flag": false}'], "wrong number of parts"),
        ([b"[]"], "header is not a JSON object"),
        ([b'{"dtype": "uint8", "shape": [2, 2]}', bytes(4)], "wrong header"),
        ([b'{"terminate_flag": false, "dtype": "object", "shape": [2, 2]}', bytes(4)], "unsupported type"),
        ([b'{"terminate_flag": false, "dtype": "uint8", "shape": ""}', bytes(4)], "unsupported type"),
        ([b'{"terminate_flag": false, "compression": {"dct": true}}', bytes(4)], "corrupt JPEG"),
    ],
)
def test_what_is_refused(parts: list[bytes], expected: str) -> None:
    with pytest.raises(WireError) as error:
        NetGear().decode(list(parts))
    assert error.value.cause == expected
