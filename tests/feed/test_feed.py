"""A publisher and a subscriber, over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from stainstream.errors import FeedFull, UsageError
from stainstream.feed import Counts, End, Publisher, Subscriber, Tile
from stainstream.feed.hub import HUB
from stainstream.feed.message import pack, unpack
from stainstream.feed.window import Window

ANY = "tcp://127.0.0.1:0"


def pixels(seq: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((4, 5, 3), seq % 256, np.uint8)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(ANY) as opened:
        yield opened


def consume(address: str, count: int, **options: Any) -> list[Tile | End]:
    """The next `count` items, all accepted."""
    taken = []
    with Subscriber(address, **options) as subscriber:
        for _ in range(count):
            item = subscriber.take(timeout=20)
            assert item is not None
            taken.append(item)
            subscriber.accept()
    return taken


def test_a_series_arrives_whole_and_in_order(publisher: Publisher) -> None:
    series = publisher.begin("s", slide="7")
    for seq in range(50):
        assert series.send(pixels(seq), meta={"x": seq}) == seq
    items = consume(publisher.address, 50)
    ended: list[Counts] = []
    thread = threading.Thread(target=lambda: ended.append(series.end(timeout=20)))
    thread.start()
    last = consume(publisher.address, 1, after={"s": 49})
    thread.join()
    for seq, item in enumerate(items):
        assert isinstance(item, Tile)
        assert (item.sequence, item.header["x"], item.header["slide"], item.again) == (seq, seq, "7", False)
        assert np.array_equal(item.image, pixels(seq))
    assert last == [End("s", Counts(50, 50, {}))]
    assert ended == [Counts(50, 50, {})]
    assert ended[0].balanced


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "jpeg"])
def test_compressed_tiles(publisher: Publisher, encoding: str) -> None:
    publisher.begin("s").send(pixels(7), encoding=encoding)
    (item,) = consume(publisher.address, 1)
    assert isinstance(item, Tile)
    assert item.header["encoding"] == encoding
    assert np.array_equal(item.image, pixels(7))


def test_a_tile_that_would_be_too_large_is_refused(publisher: Publisher) -> None:
    series = publisher.begin("s")
    series.send(np.zeros((64, 64, 3), np.uint8), encoding="zstd")
    thread = threading.Thread(target=series.end, args=(20,))
    thread.start()
    with Subscriber(publisher.address, max_frame_bytes=64 * 64 * 3 - 1) as subscriber:
        item = subscriber.take(timeout=20)
        subscriber.accept()
        assert isinstance(item, End)
        assert item.counts.rejected == {"unreadable tile": 1}
    thread.join()


def test_what_was_not_accepted_comes_again(publisher: Publisher) -> None:
    series = publisher.begin("s")
    for seq in range(5):
        series.send(pixels(seq))
    with Subscriber(publisher.address) as first:
        assert isinstance(first.take(timeout=20), Tile)
        first.accept()
        assert first.take(timeout=20) is first.take(timeout=20)  # as long as it is not accepted
    assert [item.sequence for item in consume(publisher.address, 4) if isinstance(item, Tile)] == [1, 2, 3, 4]


def test_a_cursor_file_remembers(publisher: Publisher, tmp_path: Path) -> None:
    series, cursor = publisher.begin("s"), tmp_path / "cursor"
    for seq in range(6):
        series.send(pixels(seq))
    with Subscriber(publisher.address, cursor=cursor) as first:
        for _ in range(3):
            assert first.take(timeout=20) is not None
            first.accept()
        assert first.take(timeout=20) is not None  # handed out, but not accepted
        with pytest.raises(UsageError, match="another process uses it"):
            Subscriber(publisher.address, cursor=cursor)
    rest = consume(publisher.address, 3, cursor=cursor)
    assert [(item.sequence, item.again) for item in rest if isinstance(item, Tile)] == [
        (3, True),
        (4, False),
        (5, False),
    ]


def test_a_journal_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Publisher(ANY, journal=journal) as first:
        series = first.begin("s")
        for seq in range(5):
            series.send(pixels(seq))
        consume(first.address, 3)
        first.window.enter(0, 20)
        while series.base < 3:
            threading.Event().wait(0.01)
    with Publisher(ANY, journal=journal) as second:
        assert second.begin("s").next == 3
        assert second.begin("other").next == 0


def test_the_window_is_full(publisher: Publisher) -> None:
    series = publisher.begin()
    for seq in range(64):
        series.send(pixels(seq))
    with pytest.raises(FeedFull, match="64 tiles wait to be accepted"):
        series.send(pixels(64), timeout=0.05)
    assert series.next == 64


def test_large_tiles_fill_the_window_by_their_bytes() -> None:
    window = Window(10, 100)
    assert window.enter(1000, 0)  # alone, whatever its size
    assert not window.enter(1, 0)
    window.leave(1000)
    assert window.enter(60, 0)
    assert not window.enter(60, 0)
    assert window.enter(40, 0)


def test_one_subscriber_has_the_feed(publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    series = publisher.begin("s")
    with Subscriber(publisher.address, name="a") as first:
        series.send(pixels(0))
        assert first.take(timeout=20) is not None
        with caplog.at_level("WARNING"), Subscriber(publisher.address, name="b") as second:
            assert second.take(timeout=1.5) is None
        assert "the subscriber 'a' has this feed" in caplog.text
        with Subscriber(publisher.address, name="a") as newer:  # the same, started anew
            assert newer.take(timeout=20) is not None
            newer.accept()


def test_pixels_that_are_none(publisher: Publisher) -> None:
    series = publisher.begin()
    with pytest.raises(UsageError, match=r"cannot send 10 bytes as uint8 \[4, 5, 3\]"):
        series.send(bytes(10), (4, 5, 3))
    with pytest.raises(UsageError, match="cannot send"):
        series.send(np.zeros((8, 8, 3), np.uint8)[::2])


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 60_000,
        b'{"ssa":2,"op":"ping"}',
        b'{"ssa":1,"op":"tile","series":"s","seq":-1,"base":0}',
        b'{"ssa":1,"op":"tile","series":"s","seq":true,"base":0}',
        b'{"ssa":1,"op":["tile"]}',
        b'{"ssa":1,"op":"ack","tiles":[["s",5,4]]}',
        b'{"ssa":1,"op":"ack","tiles":[["s",0,9999999]]}',
        b'{"ssa":1,"op":"hello","name":"a","session":"b","role":"king"}',
        b'{"ssa":1,"op":"hello","name":"a","session":"b","role":["worker"]}',
        b'{"ssa":1,"op":"end","series":"s","seq":1,"base":0,"tiles":1,"rejected":{"a":-1}}',
    ],
)
def test_a_stranger_who_talks_nonsense_harms_nobody(publisher: Publisher, part: bytes) -> None:
    series = publisher.begin("s")
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 1000
        stranger.connect(publisher.address)
        stranger.send(part)
        while not publisher.sender.link.rejected:
            threading.Event().wait(0.01)
    series.send(pixels(0))
    assert len(consume(publisher.address, 1)) == 1
    assert sum(publisher.sender.link.rejected.values()) == 1


def test_envelopes_come_back() -> None:
    assert unpack(pack("tile", series="s", seq=1, base=0)) == {
        "ssa": 1,
        "op": "tile",
        "series": "s",
        "seq": 1,
        "base": 0,
    }


def test_it_needs_pyzmq_alone() -> None:
    code = """
import faulthandler, json, sys
faulthandler.dump_traceback_later(60, exit=True)
for name in ("numpy", "msgspec", "cv2", "numba", "onnx", "rich", "typer"):
    sys.modules[name] = None
from stainstream.feed import Publisher, Subscriber
with Publisher("tcp://127.0.0.1:0") as publisher, Subscriber(publisher.address) as subscriber:
    publisher.begin("s").send(bytes(12), (2, 2, 3))
    print(json.dumps(subscriber.take(timeout=20).header["shape"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, 2, 3]


@pytest.mark.parametrize("role", ["subscriber", "worker"])
def test_a_receiver_whose_greeting_is_read_when_it_is_gone_already(publisher: Publisher, role: str) -> None:
    """As one that is killed: it must not be given anything, for ever, by a thread that does nothing else any more."""
    release = threading.Event()

    def hold() -> None:
        release.wait(20)

    HUB.post(hold)
    context = zmq.Context()
    for _ in range(20):
        receiver = context.socket(zmq.DEALER)
        receiver.connect(publisher.address)
        for _ in range(5):
            receiver.send(pack("hello", role=role, name="killed", session="0" * 32))
        receiver.close(linger=5000)
    context.term()  # all was sent
    time.sleep(0.5)  # ZeroMQ's own thread has read it all, and found the connections closed
    release.set()
    series = publisher.begin("s")
    for seq in range(5):
        series.send(pixels(seq))
    items = consume(publisher.address, 5)
    assert [item.sequence for item in items if isinstance(item, Tile)] == [0, 1, 2, 3, 4]
