"""Runtimes between scanners and consumers: one, several, with what cannot be used, and live."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq

from stainstream.api import open_sink, open_source
from stainstream.errors import UsageError
from stainstream.feed import Counts, End, Publisher, Subscriber, Tile, Viewer
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.zeromq import ZeroMQ as Sending
from stainstream.stream.pipeline import Pipeline


def pixels(seq: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((4, 5, 3), seq % 256, np.uint8)


@contextmanager
def runtime(source: str, sinks: Sequence[str]) -> Iterator[Pipeline]:
    """A stream without an engine, on a thread of its own."""
    pipeline = Pipeline(open_source(source), None, {each: open_sink(each) for each in sinks}, policy="lossless")
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        yield pipeline
    finally:
        pipeline.stop()
        thread.join()


def scan(publisher: Publisher, name: str, tiles: int, counts: dict[str, Counts], bad: int = -1) -> threading.Thread:
    """Send a series on a thread of its own; one of its tiles is none."""

    def work() -> None:
        series = publisher.begin(name)
        for seq in range(tiles):
            if seq == bad:
                series.put((b"", b'{"htype": "array-1.0", "type": "uint8", "shape": [4, 5, 3]}', b"short"))
            else:
                series.send(pixels(seq))
        counts[name] = series.end(timeout=60)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def collect(subscriber: Subscriber, ends: int) -> tuple[dict[str, list[int]], dict[str, Counts]]:
    """What arrives until so many series have ended."""
    seen: dict[str, list[int]] = {}
    ended: dict[str, Counts] = {}
    while len(ended) < ends:
        item = subscriber.take(timeout=60)
        if isinstance(item, Tile):
            assert np.array_equal(item.image, pixels(item.sequence))
            seen.setdefault(item.series, []).append(item.sequence)
        else:
            assert isinstance(item, End)
            ended[item.series] = item.counts
        subscriber.accept()
    return seen, ended


def test_a_tile_that_cannot_be_used_holds_up_nobody() -> None:
    counts: dict[str, Counts] = {}
    with (
        Publisher("tcp://127.0.0.1:0") as publisher,
        Subscriber("tcp://127.0.0.1:0", bind=True) as subscriber,
        runtime(
            f"zmq+{publisher.address}?delivery=acknowledged", [f"zmq+{subscriber.address}?delivery=acknowledged&bind=0"]
        ) as pipeline,
    ):
        thread = scan(publisher, "s", 100, counts, bad=40)
        seen, ended = collect(subscriber, 1)
        thread.join()
        report = pipeline.report()
    assert seen == {"s": [seq for seq in range(100) if seq != 40]}
    assert ended == counts == {"s": Counts(100, 99, {"short payload": 1})}
    assert ended["s"].balanced
    assert report.rejected == {"short payload": 1}
    assert report.balanced


def test_several_runtimes_share_a_feed_and_the_order_is_restored() -> None:
    counts: dict[str, Counts] = {}
    with Publisher("tcp://127.0.0.1:0") as publisher, Subscriber("tcp://127.0.0.1:0", bind=True) as subscriber:
        source = f"zmq+{publisher.address}?delivery=acknowledged"
        sink = f"zmq+{subscriber.address}?delivery=acknowledged&bind=0"
        with runtime(source, [sink]) as first, runtime(source, [sink]) as second:
            while len(publisher.sender._peers) < 2:
                time.sleep(0.01)
            thread = scan(publisher, "s", 400, counts)
            seen, ended = collect(subscriber, 1)
            thread.join()
            shares = [first.report().captured, second.report().captured]
    assert seen == {"s": list(range(400))}
    assert ended == counts == {"s": Counts(400, 400, {})}
    assert sum(shares) == 400
    assert min(shares) > 50  # fair, as far as a busy machine lets it be


def test_several_scanners_on_one_runtime() -> None:
    counts: dict[str, Counts] = {}
    source = "zmq+tcp://127.0.0.1:0?delivery=acknowledged&bind=1"
    with (
        Subscriber("tcp://127.0.0.1:0", bind=True) as subscriber,
        runtime(source, [f"zmq+{subscriber.address}?delivery=acknowledged&bind=0"]) as pipeline,
    ):
        while not (address := getattr(pipeline.source, "address", "")):
            time.sleep(0.01)
        with Publisher(address, bind=False) as one, Publisher(address, bind=False) as other:
            with Publisher(address, bind=False) as dying:
                dying.begin("dead").send(pixels(0))  # it never ends, and holds up no other
            threads = [scan(one, "one", 150, counts, bad=3), scan(other, "other", 150, counts)]
            seen, ended = collect(subscriber, 2)
            for thread in threads:
                thread.join()
    assert seen["one"] == [seq for seq in range(150) if seq != 3]
    assert seen["other"] == list(range(150))
    assert ended == counts == {"one": Counts(150, 149, {"short payload": 1}), "other": Counts(150, 150, {})}


def test_frames_without_a_series_get_one() -> None:
    with Subscriber("tcp://127.0.0.1:0", bind=True) as subscriber:
        sink = open_sink(f"zmq+{subscriber.address}?delivery=acknowledged&bind=0&series=demo")
        source = open_source("demo?size=64x48&frames=20&rate=0")
        pipeline = Pipeline(source, None, {"sink": sink}, policy="lossless")
        thread = threading.Thread(target=pipeline.run)
        thread.start()
        items: list[object] = []
        while not items or isinstance(items[-1], Tile):
            items.append(subscriber.take(timeout=60))
            subscriber.accept()
        thread.join()
    assert [item.sequence for item in items if isinstance(item, Tile)] == list(range(20))
    assert items[-1] == End("demo", Counts(20, 20, {}))
    assert pipeline.report().sinks["sink"].delivered == 20


def test_frames_of_an_acknowledged_feed_are_not_to_be_dropped() -> None:
    source = open_source("zmq+tcp://127.0.0.1:5?delivery=acknowledged")
    with pytest.raises(UsageError, match="it is acknowledged; use policy lossless"):
        Pipeline(source, None, {"null": open_sink("null")}, policy="live")


def frame(seq: int) -> Frame:
    return Frame(pixels(seq), PixelFormat.RGB8, seq, time.monotonic_ns())


def live() -> Sending:
    sink = open_sink("zmq+tcp://127.0.0.1:0?delivery=live")
    assert isinstance(sink, Sending)
    return sink


def test_a_live_receiver_gets_the_newest_when_it_is_ready() -> None:
    with live() as sink, open_source(f"zmq+{sink.address}?delivery=live") as source:
        frames = iter(source)
        sink.write(frame(0))
        assert next(frames).seq == 0
        for seq in range(1, 50):
            sink.write(frame(seq))
        later = next(frames)
        assert later.seq == 49
        assert np.array_equal(later.image, pixels(49))
        sink.write(frame(50))
        assert next(frames).seq == 50


def test_live_receivers_that_are_slow_vanish_or_are_hostile_harm_no_other() -> None:
    with live() as sink:
        source = open_source(f"zmq+{sink.address}?delivery=live")
        with zmq.Context() as context, source:
            frames = iter(source)
            sink.write(frame(0))
            assert next(frames).seq == 0
            for number in range(60):
                with context.socket(zmq.DEALER) as stranger:
                    stranger.linger = 0
                    stranger.connect(sink.address)
                    for part in (b"nonsense", b'{"ssa":1,"op":"ready"}', b"{" * 1000):
                        stranger.send(part)
                    if number % 2:
                        stranger.send(b'{"ssa":1,"op":"hello","role":"live","name":"x","session":"y","ready":true}')
                sink.write(frame(number + 1))
                assert next(frames).seq == number + 1


def test_too_many_messages_a_second_are_rejected_unread() -> None:
    with (
        open_source("zmq+tcp://127.0.0.1:0?pattern=pull&bind=1&max_rate=5&hwm=1000") as source,
        open_sink(f"zmq+{source.address}?pattern=push&bind=0&hwm=1000&announce=0") as sink,  # type: ignore[attr-defined]
    ):
        for seq in range(50):
            sink.write(frame(seq))
        threading.Timer(1.0, source.stop).start()
        seen = [each.seq for each in source]
    assert seen[:5] == [0, 1, 2, 3, 4]
    assert 5 <= len(seen) <= 12
    assert source.rejected == {"rate limit": 50 - len(seen)}


def test_a_viewer_is_never_behind() -> None:
    with live() as sink, Viewer(sink.address) as viewer:
        seen = []
        sink.write(frame(0))
        for each in viewer:
            seen.append(each.sequence)
            if len(seen) == 4:
                break
            for seq in range(10 * len(seen), 10 * len(seen) + 10):
                sink.write(frame(seq))
    assert seen == [0, 19, 29, 39]
    assert viewer.skipped == 27
