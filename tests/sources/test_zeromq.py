"""Feeds over ZeroMQ: real sockets, and real senders of others."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, get_args, get_type_hints

import cv2
import numpy as np
import pytest
import zmq

from stainstream.errors import SourceError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sources import zeromq
from stainstream.sources.zeromq import ZeroMQ
from stainstream.wire import TABLE
from stainstream.wire.array10 import Array10
from stainstream.wire.native import Native

Message = list[Any]


@pytest.fixture(params=["tcp", pytest.param("ipc", marks=pytest.mark.skipif(sys.platform == "win32", reason="no ipc"))])
def anywhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address to bind to."""
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        yield "zmq+tcp://127.0.0.1:0" if request.param == "tcp" else f"zmq+ipc://{Path(folder) / 's'}"


def feed(target: str = "zmq+tcp://127.0.0.1:0", **options: Any) -> ZeroMQ:
    return ZeroMQ(target, ZeroMQ.Options(**{"bind": True, "pattern": "pull", **options}))


class Sender:
    """A bare pyzmq socket."""

    def __init__(self, address: str, kind: int = zmq.PUSH) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.sndtimeo = self.socket.rcvtimeo = 5000
        self.socket.connect(address)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.destroy(linger=1000)

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.socket.send_multipart(message)


@contextmanager
def sending(address: str, kind: int, *messages: Message) -> Iterator[None]:
    """Send on a thread of its own; publish only once somebody subscribed."""

    def send() -> None:
        with Sender(address, zmq.XPUB if kind == zmq.PUB else kind) as sender:
            if kind == zmq.PUB:
                sender.socket.recv()
            sender.send(*messages)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def image(seq: int, shape: tuple[int, ...] = (32, 48, 3)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seq).integers(0, 256, shape, np.uint8)


def native(seq: int, **meta: Any) -> Message:
    return list(Native().encode(Frame(image(seq), PixelFormat.RGB8, seq, time.monotonic_ns(), {"epoch": "e", **meta})))


def array10(seq: int, **meta: Any) -> Message:
    return list(Array10().encode(Frame(image(seq), PixelFormat.RGB8, seq, 1, meta)))


def raw(header: dict[str, Any], payload: bytes = b"") -> Message:
    return [json.dumps(header).encode(), payload]


def test_the_formats_are_those_of_the_table() -> None:
    assert get_args(get_type_hints(ZeroMQ.Options)["format"]) == tuple(row.name for row in TABLE)


@pytest.mark.parametrize("pattern", ["pull", "sub"])
def test_frames_arrive_as_they_were_sent(anywhere: str, pattern: str) -> None:
    with feed(anywhere, pattern=pattern, hwm=100) as source:
        messages = [native(seq, stage={"x": seq / 2}, slide="S") for seq in range(20, 60)]
        with sending(source.address, zmq.PUSH if pattern == "pull" else zmq.PUB, *messages):
            frames = list(islice(source, 40))
    assert [frame.seq for frame in frames] == list(range(20, 60))
    for frame in frames:  # after all, and after the source was closed: each holds its own memory
        assert frame.format is PixelFormat.RGB8
        assert np.array_equal(frame.image, image(frame.seq))
        assert (frame.meta["stage"], frame.meta["slide"]) == ({"x": frame.seq / 2}, "S")
        assert 0 < time.monotonic_ns() - frame.captured_ns < 60e9
    assert (source.lost, source.rejected) == (0, {})


def test_a_source_may_connect_instead() -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        port = sender.bind_to_random_port("tcp://127.0.0.1")
        sender.linger = 0
        with feed(f"zmq+tcp://127.0.0.1:{port}", bind=None, format="array-1.0") as source:
            sender.send_multipart(array10(3))
            assert next(iter(source)).seq == 3
            assert source.address == f"tcp://127.0.0.1:{port}"


def test_a_feed_may_begin_later_and_come_back() -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    with feed(f"zmq+tcp://127.0.0.1:{port}", bind=False, format="array-1.0") as source:
        frames = iter(source)
        for seq in (1, 2):
            with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
                sender.linger = 5000
                sender.bind(f"tcp://127.0.0.1:{port}")
                sender.send_multipart(array10(seq))
                assert next(frames).seq == seq


def test_topics() -> None:
    messages = [[b"camera%d/raw" % (seq % 2), *native(seq)[1:]] for seq in range(6)]
    with feed(pattern="sub", topic="camera1", hwm=100) as source, sending(source.address, zmq.PUB, *messages):
        assert [frame.seq for frame in islice(source, 3)] == [1, 3, 5]


def test_malformed_messages_are_counted_and_good_ones_go_on(caplog: pytest.LogCaptureFixture) -> None:
    good = {"htype": "array-1.0", "type": "uint8", "shape": [4, 5], "frame": 0}
    bad: list[tuple[str, Message]] = [
        ("unsupported type", raw(good | {"type": "float64"}, bytes(20))),
        ("short payload", raw(good | {"shape": [5, 5]}, bytes(20))),
        ("long payload", raw(good | {"shape": [3, 5]}, bytes(20))),
        ("large frame", raw(good | {"shape": [99999, 99999]}, bytes(20))),
        ("wrong header", raw(good | {"shape": "4x5"}, bytes(20))),
        ("unknown pixel format", raw(good | {"pixel_format": "CMYK8"}, bytes(20))),
        ("unknown htype", raw(good | {"htype": "dimage-1.0"}, bytes(20))),
        ("header is not a JSON object", [b"hello", b"world"]),
        ("wrong number of parts", [b"hello"]),
        ("large header", [bytes(70_000), b""]),
    ]
    with feed(format="array-1.0") as source, Sender(source.address) as sender:
        frames = iter(source)
        with caplog.at_level(logging.WARNING, logger="stainstream"):
            for seq, (_, message) in enumerate(bad * 3):
                sender.send(message, array10(seq))
                assert next(frames).seq == seq
        assert source.rejected == {cause: 3 for cause, _ in bad}
        assert len(caplog.records) <= 3  # one a second at most
        assert "rejected 1 message(s) from zmq+tcp://127.0.0.1:0, the last one: unsupported type" in caplog.text
        caplog.clear()
        time.sleep(1.0)
        sender.send([b"hello"], array10(99))
        next(frames)
        assert f"rejected {3 * len(bad)} message(s)" in caplog.text  # with those that were not logged


def test_large_frames_are_refused_small_ones_go_on() -> None:
    with feed(format="array-1.0", max_frame_bytes=image(0).nbytes - 1) as source, Sender(source.address) as sender:
        sender.send(array10(0), raw({"htype": "array-1.0", "type": "uint8", "shape": [4, 5], "frame": 1}, bytes(20)))
        assert next(iter(source)).seq == 1
        assert source.rejected == {"large frame": 1}


def test_a_message_beyond_the_limit_is_not_even_received() -> None:
    small = raw({"htype": "array-1.0", "type": "uint8", "shape": [4, 5], "frame": 1}, bytes(20))
    with feed(format="array-1.0", max_frame_bytes=1000) as source, Sender(source.address) as sender:
        sender.send(raw({}, bytes(1000 + (65 << 10))))
        ended = threading.Event()

        def go_on() -> None:  # what is under way when the connection drops is lost
            while not ended.wait(0.05):
                sender.send(small)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            assert next(iter(source)).seq == 1
        finally:
            ended.set()
            thread.join()
        assert source.rejected == {}


@pytest.mark.parametrize(
    ("sent", "lost"),
    [
        ([native(5), native(6), native(7)], 0),
        ([native(5), native(7), native(11)], 4),
        ([native(5), native(0), native(1)], 0),
        ([native(5), native(5), native(6)], 0),
        ([native(5), native(9, epoch="f"), native(11, epoch="f")], 1),
        ([native(5), [b"topic", b"no", b"header"], native(7)], 0),
        ([native(5), [b"topic", b"no", b"header"], native(9)], 2),
        ([native(5), [b"t", b'{"htype": "array-1.0", "ssf": 1, "kind": "status"}', b""], native(6)], 0),
        ([native(5, epoch=[1]), native(9, epoch=[1])], 0),
        ([array10(5), array10(9)], 3),
    ],
)
def test_gaps_in_the_numbers_are_lost_frames(sent: list[Message], lost: int) -> None:
    frames = sum(b"pixel_format" in bytes(message[-2]) for message in sent)
    with feed(hwm=100) as source, Sender(source.address) as sender:
        sender.send(*sent)
        list(islice(source, frames))
    assert source.lost == lost


def test_frames_without_numbers_are_counted() -> None:
    unnumbered = raw({"htype": "array-1.0", "type": "uint8", "shape": [4, 5]}, bytes(20))
    with feed(format="array-1.0") as source, Sender(source.address) as sender:
        sender.send(*[unnumbered] * 3)
        assert [frame.seq for frame in islice(source, 3)] == [0, 1, 2]


@pytest.mark.parametrize("end", ["stop", "close"])
@pytest.mark.parametrize("pattern", ["sub", "pull", "rep"])
def test_a_waiting_source_ends_at_once(pattern: str, end: str) -> None:
    source = feed(pattern=pattern)
    source.open()
    done = threading.Event()

    def read() -> None:
        assert list(source) == []
        done.set()

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.15)
    getattr(source, end)()
    assert done.wait(0.5)
    thread.join()
    source.close()
    source.close()


def test_waiting_takes_no_processor_time() -> None:
    with feed() as source:
        threading.Timer(0.6, source.stop).start()
        before = time.thread_time()
        assert list(source) == []
        assert time.thread_time() - before < 0.06


def test_can_be_opened_again() -> None:
    source = feed(format="array-1.0")
    for seq in (7, 3):
        with source, Sender(source.address) as sender:
            sender.send(array10(seq))
            assert next(iter(source)).seq == seq
    assert source.lost == 0


def test_reading_before_opening() -> None:
    with pytest.raises(SourceError, match="it is not open"):
        next(iter(feed()))


def test_a_port_in_use_is_named() -> None:
    with feed() as source, pytest.raises(SourceError, match=r"cannot bind to tcp.*: the address is in use"):
        feed(f"zmq+{source.address}").open()


def test_a_silent_feed_is_remarked_upon(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeromq, "_SILENCE_S", 0.2)
    with feed() as source, caplog.at_level(logging.WARNING, logger="stainstream"):
        threading.Timer(0.7, source.stop).start()
        assert list(source) == []
    assert [record.message for record in caplog.records] == [
        "zmq+tcp://127.0.0.1:0 is silent: is it on, and does pattern=pull fit how it sends?"
    ]


@pytest.mark.parametrize(("pattern", "waits"), [("sub", False), ("pull", True), ("rep", True)])
def test_only_a_subscriber_does_not_hold_up_the_feed(pattern: str, waits: bool) -> None:
    assert feed(pattern=pattern).waits is waits


def test_options_as_text() -> None:
    from stainstream.api import open_source

    source = open_source("zmq+tcp://h:5?format=imagezmq&pattern=rep&bind=0&hwm=9&topic=a&max_frame_bytes=5")
    assert source.options == ZeroMQ.Options(
        format="imagezmq", pattern="rep", bind=False, hwm=9, topic="a", max_frame_bytes=5
    )
    for wrong in ("format=png", "pattern=push", "bind=2", "hwm=0", "max_frame_bytes=-1", "conflate=1"):
        with pytest.raises(UsageError, match="wrong settings in source"):
            open_source(f"zmq+tcp://h:5?{wrong}")


def test_a_requesting_sender_is_answered_even_when_it_sends_nonsense() -> None:
    answers: list[bytes] = []
    good = raw({"msg": "a", "dtype": "uint8", "shape": [4, 5]}, bytes(20))
    with feed(pattern="rep", bind=None, format="imagezmq") as source, Sender(source.address, zmq.REQ) as sender:

        def request() -> None:
            for message in ([b"nonsense"], good):
                sender.send(message)
                answers.append(sender.socket.recv())

        thread = threading.Thread(target=request)
        thread.start()
        assert next(iter(source)).meta == {"msg": "a"}
        thread.join()
    assert answers == [b"OK", b"OK"]
    assert source.rejected == {"wrong number of parts": 1}


@pytest.mark.parametrize("jpeg", [False, True])
def test_imagezmq_sends_to_us_as_its_hub(jpeg: bool) -> None:
    imagezmq = pytest.importorskip("imagezmq", reason="imagezmq is not installed")
    picture = cv2.resize(image(0, (4, 4, 3)), (64, 48), interpolation=cv2.INTER_CUBIC)
    answers: list[bytes] = []
    with feed(pattern="rep", bind=None, format="imagezmq") as source:

        def send() -> None:
            sender = imagezmq.ImageSender(connect_to=source.address)
            for name in ("rpi1", "rpi2"):
                if jpeg:
                    answers.append(sender.send_jpg(name, cv2.imencode(".jpg", picture)[1]))
                else:
                    answers.append(sender.send_image(name, picture))
            sender.close()

        thread = threading.Thread(target=send)
        thread.start()
        frames = list(islice(source, 2))
        thread.join()
    assert answers == [b"OK", b"OK"]
    assert [(frame.seq, frame.meta["msg"], frame.format) for frame in frames] == [
        (0, "rpi1", PixelFormat.BGR8),
        (1, "rpi2", PixelFormat.BGR8),
    ]
    for frame in frames:
        assert np.abs(frame.image.astype(int) - picture).mean() <= (4 if jpeg else 0)


def test_imagezmq_publishes_to_us() -> None:
    imagezmq = pytest.importorskip("imagezmq", reason="imagezmq is not installed")
    with zmq.Context() as context, context.socket(zmq.PUB) as probe:
        port = probe.bind_to_random_port("tcp://127.0.0.1")
    sender = imagezmq.ImageSender(connect_to=f"tcp://127.0.0.1:{port}", REQ_REP=False)
    with feed(f"zmq+tcp://127.0.0.1:{port}", pattern="sub", bind=None, format="imagezmq") as source:
        ended = threading.Event()

        def publish() -> None:
            while not ended.wait(0.02):
                sender.send_image("rpi1", image(1, (6, 5)))
            sender.close()

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            frame = next(iter(source))
        finally:
            ended.set()
            thread.join()
    assert (frame.meta, frame.format) == ({"msg": "rpi1"}, PixelFormat.Mono8)
    assert np.array_equal(frame.image, image(1, (6, 5)))
