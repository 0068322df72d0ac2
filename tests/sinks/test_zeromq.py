"""Frames over ZeroMQ: real sockets, and real receivers of others."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import zmq

from stainstream.api import open_sink, open_source
from stainstream.errors import SinkError, UsageError
from stainstream.feed import Subscriber, Tile, Viewer
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.zeromq import ZeroMQ
from stainstream.sources.zeromq import ZeroMQ as Feed
from stainstream.wire import TABLE
from stainstream.wire.imagezmq import ImageZMQ

Receiver = zmq.Socket[bytes]
SHAPE = (160, 200, 3)  # more than 64 KiB: smaller ones pyzmq copies
META = {"stage": {"x": 1.5, "y": -2}, "slide": "S", "source": "scanner", "tile": [3, 4]}


@pytest.fixture(params=["tcp", pytest.param("ipc", marks=pytest.mark.skipif(sys.platform == "win32", reason="no ipc"))])
def anywhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address to bind to."""
    with tempfile.TemporaryDirectory(prefix="ss") as folder:
        yield "zmq+tcp://127.0.0.1:0" if request.param == "tcp" else f"zmq+ipc://{Path(folder) / 's'}"


def sink(target: str = "zmq+tcp://127.0.0.1:0", **options: Any) -> ZeroMQ:
    return ZeroMQ(target, ZeroMQ.Options(**options))


def image(seq: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seq).integers(0, 256, SHAPE, np.uint8)


def frame(seq: int, **meta: Any) -> Frame:
    return Frame(image(seq), PixelFormat.RGB8, seq, time.monotonic_ns(), META | meta)


@contextmanager
def receiver(address: str, kind: int = zmq.PULL) -> Iterator[Receiver]:
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.rcvtimeo, socket.rcvhwm, socket.linger = 5000, 1, 0
        if kind == zmq.SUB:
            socket.subscribe(b"")
        socket.connect(address)
        yield socket


def until_received(sending: ZeroMQ, socket: Receiver, **meta: Any) -> list[bytes]:
    """Publish until a frame comes: nobody tells a publisher that somebody subscribed."""
    for seq in range(250):
        sending.write(frame(seq, **meta))
        while socket.poll(20):
            parts = socket.recv_multipart()
            if b'"kind":"start"' not in parts[1]:
                return parts
    pytest.fail("nothing came")


def test_the_formats_are_those_of_the_table() -> None:
    assert get_args(get_type_hints(ZeroMQ.Options)["format"]) == tuple(row.name for row in TABLE)


def test_a_plain_subscriber() -> None:
    with sink() as sending, receiver(sending.address, zmq.SUB) as socket:
        topic, text, payload = until_received(sending, socket)
    header = json.loads(text)
    assert topic == b"normalized"
    assert payload == image(header["frame"]).tobytes()
    assert META.items() <= header.items()


def test_a_plain_consumer_of_array10(anywhere: str) -> None:
    with sink(anywhere, pattern="push", format="array-1.0") as sending, receiver(sending.address) as socket:
        for seq in range(3):
            sending.write(frame(seq, ndattr={"ColorMode": 1, "BayerPattern": 2}))
        for seq in range(3):
            text, payload = socket.recv_multipart()
            header = json.loads(text)
            assert (header["htype"], header["frame"], header["shape"]) == ("array-1.0", seq, list(SHAPE))
            assert header["ndattr"] == {"ColorMode": 2}
            assert payload == image(seq).tobytes()


def test_subscribers_choose_by_topic() -> None:
    with sink(topic="camera1/normalized") as sending, receiver(sending.address, zmq.SUB) as socket:
        socket.unsubscribe(b"")
        socket.subscribe(b"camera1/")
        assert until_received(sending, socket)[0] == b"camera1/normalized"


def test_imagezmq_receives_from_us() -> None:
    imagezmq = pytest.importorskip("imagezmq", reason="imagezmq is not installed")
    with sink(format="imagezmq") as sending:
        hub = imagezmq.ImageHub(open_port=sending.address, REQ_REP=False)
        until_received(sending, hub.zmq_socket)
        sending.write(frame(1000, msg="microscope"))
        name, picture = hub.recv_image()
        while name != "microscope":
            name, picture = hub.recv_image()
        hub.close()
    assert np.array_equal(picture, image(1000)[..., ::-1])


def test_imagezmq_receives_jpegs_from_us() -> None:
    imagezmq = pytest.importorskip("imagezmq", reason="imagezmq is not installed")
    smooth = np.broadcast_to(np.arange(160, dtype=np.uint8)[:, None, None], SHAPE).copy()
    smooth[..., 0] //= 2
    with sink(format="imagezmq", encoding="jpeg", quality=100) as sending:
        hub = imagezmq.ImageHub(open_port=sending.address, REQ_REP=False)
        for seq in range(250):
            sending.write(Frame(smooth, PixelFormat.RGB8, seq, meta={"msg": "scope", "shape": [1], "dtype": "x"}))
            if hub.zmq_socket.poll(20):
                break
        name, jpeg = hub.recv_jpg()
        hub.close()
    assert name == "scope"
    frame = ImageZMQ().decode([b'{"msg": ""}', bytes(jpeg)])
    assert frame is not None
    assert np.abs(frame.image[..., ::-1].astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_what_our_sink_sends_our_source_takes(anywhere: str, name: str) -> None:
    feed = Feed(anywhere, Feed.Options(format=name, pattern="pull", bind=True))  # type: ignore[arg-type]
    with feed, sink(f"zmq+{feed.address}", format=name, pattern="push", bind=False) as sending:

        def send() -> None:
            for seq in range(40, 70):
                sending.write(frame(seq, msg="m"))

        thread = threading.Thread(target=send)
        thread.start()
        for seq, taken in zip(range(40, 70), feed, strict=False):
            sent, numbered = image(seq), name not in ("imagezmq", "netgear")
            assert np.array_equal(taken.image if numbered else taken.image[..., ::-1], sent)
            assert taken.seq == (seq if numbered else seq - 40)
            assert (META | {"msg": "m"}).items() <= taken.meta.items()
            if seq == 69:
                break
        thread.join()
    assert (feed.lost, feed.rejected) == (0, {})


def told(socket: Receiver, until: str) -> list[dict[str, Any]]:
    """Headers of all messages, up to one of a kind."""
    headers: list[dict[str, Any]] = []
    while not headers or headers[-1]["kind"] != until:
        headers.append(json.loads(socket.recv_multipart()[1]))
    return headers


def test_start_status_and_end_are_sent_and_add_up() -> None:
    with sink(pattern="push", linger=5.0) as sending, receiver(sending.address) as socket:
        for seq in (4, 6):
            sending.write(frame(seq))
        first = told(socket, "status")
        closing = threading.Thread(target=sending.close)
        closing.start()
        last = told(socket, "end")[-1]
        closing.join()
    assert [each["kind"] for each in first] == ["start", "frame", "frame", "status"]
    assert (first[0]["pixel_format"], first[0]["shape"], first[0]["encoding"]) == ("RGB8", list(SHAPE), "")
    assert last | {"frames": 2, "sent": 2, "dropped": {}, "frame": 6} == last
    assert len({each["epoch"] for each in [first[0], first[-1], last]}) == 1


def test_frames_that_nobody_took_are_in_the_counts() -> None:
    sending = sink(pattern="push")
    sending.open()
    threading.Timer(0.2, sending.stop).start()
    with pytest.raises(SinkError):
        sending.write(frame(7))
    herald = sending._herald
    assert herald is not None
    assert herald.counts == {"frames": 1, "sent": 0, "dropped": {"no consumer took it": 1}, "frame": 7}
    sending.close()


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("encoding", ["lz4", "zstd", "jpeg"])
def test_compressed_frames_of_one_or_three_parts(encoding: str, single: bool) -> None:
    feed = Feed("zmq+tcp://127.0.0.1:0", Feed.Options(pattern="pull", bind=True))
    options = {"encoding": encoding, "single": single, "quality": 100, "pattern": "push", "bind": False}
    smooth = np.broadcast_to(np.arange(160, dtype=np.uint8)[:, None, None], SHAPE).copy()
    with feed, sink(f"zmq+{feed.address}", **options) as sending:
        sending.write(Frame(smooth, PixelFormat.RGB8, 5))
        taken = next(iter(feed))
    assert (taken.seq, taken.format, feed.rejected) == (5, PixelFormat.RGB8, {})
    assert np.abs(taken.image.astype(int) - smooth).max() <= (2 if encoding == "jpeg" else 0)


def test_acknowledged_frames_may_be_compressed() -> None:
    with sink(delivery="acknowledged", encoding="lz4") as sending:
        sending.write(frame(5))
        with Subscriber(sending.address) as subscriber:
            tile = subscriber.take(timeout=20)
            subscriber.accept()
    assert isinstance(tile, Tile)
    assert np.array_equal(tile.image, image(5))


def test_live_frames_may_be_compressed() -> None:
    with sink(delivery="live", encoding="zstd") as sending, Viewer(sending.address) as viewer:
        sending.write(frame(5))
        tile = next(iter(viewer))
    assert (tile.sequence, tile.header["encoding"]) == (5, "zstd")
    assert np.array_equal(tile.image, image(5))


def test_compression_is_for_our_own_format() -> None:
    with pytest.raises(UsageError, match=r"format=array-1.0 knows no encoding=lz4"):
        open_sink("zmq+tcp://h:5?format=array-1.0&encoding=lz4")
    with pytest.raises(UsageError, match="format=imagezmq knows no encoding=zstd"):
        open_sink("zmq+tcp://h:5?format=imagezmq&encoding=zstd")
    with pytest.raises(UsageError, match="single is for format=stainstream, not netgear"):
        open_sink("zmq+tcp://h:5?format=netgear&single=1")


def test_a_publisher_without_subscribers_does_not_wait() -> None:
    with sink() as sending:
        before = time.monotonic()
        for seq in range(20):
            sending.write(frame(seq))
        assert time.monotonic() - before < 1.0


def test_an_idle_pusher_is_closed_at_once(anywhere: str) -> None:
    sending = sink(anywhere, pattern="push", linger=10.0)
    sending.open()
    before = time.monotonic()
    sending.close()
    assert time.monotonic() - before < 1.0


@pytest.mark.parametrize("bind", [True, False])
def test_a_pusher_waits_for_a_consumer_until_it_is_stopped(bind: bool) -> None:
    with sink("zmq+tcp://127.0.0.1:0" if bind else "zmq+tcp://127.0.0.1:9", pattern="push", bind=bind) as sending:
        threading.Timer(0.3, sending.stop).start()
        before = time.monotonic()
        with pytest.raises(SinkError, match=r"cannot send frame 7 to zmq\+tcp://127.0.0.1:\d: no consumer took it"):
            sending.write(frame(7))
        assert 0.25 < time.monotonic() - before < 0.8


def test_waiting_takes_no_processor_time() -> None:
    with sink(pattern="push") as sending:
        threading.Timer(0.6, sending.stop).start()
        sent = frame(7)
        before = time.thread_time()
        with pytest.raises(SinkError):
            sending.write(sent)
        assert time.thread_time() - before < 0.06


def test_a_pusher_that_waits_sends_when_a_consumer_comes() -> None:
    with sink(pattern="push", announce=False) as sending:
        thread = threading.Thread(target=sending.write, args=(frame(7),))
        thread.start()
        time.sleep(0.3)
        with receiver(sending.address) as socket:
            assert socket.recv_multipart()[-1] == image(7).tobytes()
        thread.join()


@pytest.mark.parametrize("side", [60, 200])
def test_the_last_frames_arrive_though_the_sink_is_closed(anywhere: str, side: int) -> None:
    sent = [image(seq)[:side, :side] for seq in range(50)]
    with (
        sink(anywhere, pattern="push", hwm=100, linger=10.0, announce=False) as sending,
        receiver(sending.address) as socket,
    ):
        for seq, pixels in enumerate(sent):
            sending.write(Frame(pixels, PixelFormat.RGB8, seq))
        closing = threading.Thread(target=sending.close)
        closing.start()
        for pixels in sent:
            time.sleep(0.01)
            assert socket.recv_multipart()[-1] == pixels.tobytes()
        closing.join(5)
        assert not closing.is_alive()


@pytest.mark.parametrize(("stopped", "shortest", "longest"), [(False, 0.4, 2.0), (True, 0.0, 0.35)])
def test_closing_waits_for_a_slow_consumer_only_so_long(stopped: bool, shortest: float, longest: float) -> None:
    sending = sink(pattern="push", hwm=1000, linger=0.5)
    sending.open()
    with receiver(sending.address) as socket:
        socket.poll(100)
        for seq in range(100):
            sending.write(Frame(np.zeros((512, 512, 3), np.uint8), PixelFormat.RGB8, seq))
        if stopped:
            sending.stop()
        before = time.monotonic()
        sending.close()
        assert shortest < time.monotonic() - before < longest


def test_a_frame_belongs_to_the_sink_until_it_has_left() -> None:
    pixels = image(1)
    alive = weakref.ref(pixels)
    large = Frame(np.zeros((2000, 3000, 3), np.uint8), PixelFormat.RGB8)
    with sink(pattern="push", hwm=10, announce=False) as sending, receiver(sending.address) as socket:
        for _ in range(5):  # more than the receiver and the system keep for it
            sending.write(large)
        sending.write(Frame(pixels, PixelFormat.RGB8))
        del pixels
        gc.collect()
        time.sleep(0.2)
        assert alive() is not None
        for _ in range(5):
            assert len(socket.recv_multipart()[-1]) == large.image.nbytes
        assert socket.recv_multipart()[-1] == image(1).tobytes()
        deadline = time.monotonic() + 5
        while alive() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert alive() is None


def test_a_consumer_that_pauses_loses_nothing() -> None:
    """ZeroMQ's own heartbeats would take it for dead."""
    with sink(pattern="push", hwm=2) as sending:
        feed = Feed(f"zmq+{sending.address}", Feed.Options(pattern="pull", hwm=2))
        with feed:

            def send() -> None:
                for seq in range(40):
                    sending.write(Frame(np.zeros((512, 512, 3), np.uint8), PixelFormat.RGB8, seq))

            thread = threading.Thread(target=send)
            thread.start()
            frames = iter(feed)
            seen = [next(frames).seq]
            time.sleep(4.5)
            seen += [each.seq for each in islice(frames, 39)]
            thread.join()
    assert seen == list(range(40))


def test_a_port_in_use_is_named() -> None:
    with (
        sink() as sending,
        pytest.raises(SinkError, match=f"cannot bind to {sending.address}: the address is in use; st"),
    ):
        sink(f"zmq+{sending.address}").open()


def test_writing_to_a_closed_sink() -> None:
    sending = sink()
    with pytest.raises(SinkError, match="it is not open"):
        sending.write(frame(0))
    sending.open()
    sending.close()
    sending.close()
    with pytest.raises(SinkError, match="it is not open"):
        sending.write(frame(0))


@pytest.mark.parametrize("pattern", ["pub", "push"])
def test_closing_while_another_thread_writes_is_safe(pattern: str) -> None:
    sending = sink(pattern=pattern)
    sending.open()
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            try:
                sending.write(frame(0))
            except SinkError:
                ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.15)
    sending.close()
    assert ended.wait(1.0)
    thread.join()


def test_metadata_that_cannot_be_sent() -> None:
    with sink() as sending, pytest.raises(SinkError, match=r"cannot send frame 3 to .*: metadata cannot be JSON"):
        sending.write(frame(3, lens=object()))


def test_options_as_text() -> None:
    made = open_sink("zmq+tcp://h:5?format=array-1.0&pattern=push&bind=0&hwm=9&topic=a&linger=0.5")
    assert made.options == ZeroMQ.Options(format="array-1.0", pattern="push", bind=False, hwm=9, topic="a", linger=0.5)
    for wrong in ("format=png", "pattern=sub", "bind=2", "hwm=0", "linger=-1", "conflate=1"):
        with pytest.raises(UsageError, match="wrong settings in sink"):
            open_sink(f"zmq+tcp://h:5?{wrong}")


def test_source_and_sink_of_one_process() -> None:
    with (
        open_sink("zmq+inproc://here?pattern=push") as sending,
        open_source("zmq+inproc://here?pattern=pull") as source,
    ):
        sending.write(frame(3))
        assert next(iter(source)).seq == 3
