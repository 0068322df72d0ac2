"""What goes wrong in a callback, with a file or with a peer must not end a feed, nor make it wait for good."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from stainstream.api import open_sink, open_source
from stainstream.feed import Publisher, Subscriber, Tile
from stainstream.feed.hub import HUB
from stainstream.feed.journal import Journal
from stainstream.feed.message import pack, unpack
from stainstream.receipt import Note, Receipt
from stainstream.security import make_keys

ANY = "tcp://127.0.0.1:0"
PIXELS = bytes(12)
SHAPE = (2, 2, 3)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(ANY) as opened:
        yield opened


@pytest.fixture
def stranger() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as opened:
        opened.linger, opened.rcvtimeo = 0, 10_000
        yield opened


def heard(opened: zmq.Socket[bytes], op: str) -> dict[str, Any]:
    """The next envelope of an operation."""
    while (envelope := unpack(opened.recv_multipart()[0]))["op"] != op:
        pass
    return envelope


def until_the_hub_has_a_turn(seconds: float = 5.0) -> bool:
    """Whether all that came in until now is answered in time."""
    turn = threading.Event()
    HUB.post(turn.set)
    return turn.wait(seconds)


def test_an_error_in_a_callback_ends_no_feed(publisher: Publisher) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("somebody's own")

    series = publisher.begin("s")
    series.put((b"", b"{}", PIXELS), done=fail)
    with Subscriber(publisher.address) as subscriber:
        series.send(PIXELS, SHAPE)
        taken: list[int] = []
        while len(taken) < 2:
            item = subscriber.take(timeout=10)  # the first one cannot be read, and is refused
            assert isinstance(item, Tile)
            taken.append(item.sequence)
            subscriber.accept()
            if len(taken) == 1:
                series.send(PIXELS, SHAPE)
    assert taken == [1, 2]


def test_an_error_in_what_the_hub_was_asked_to_do_ends_no_feed(publisher: Publisher) -> None:
    def fail() -> None:
        raise RuntimeError("somebody's own")

    HUB.post(fail)
    publisher.begin("s").send(PIXELS, SHAPE)
    with Subscriber(publisher.address) as subscriber:
        assert isinstance(subscriber.take(timeout=10), Tile)


def test_a_tile_that_is_refused_twice_is_still_to_be_replaced(
    publisher: Publisher, stranger: zmq.Socket[bytes]
) -> None:
    """A worker that was taken for gone refuses it, too: nobody has the void yet, and behind it all would wait."""
    series = publisher.begin("s")
    series.send(PIXELS, SHAPE)
    stranger.connect(publisher.address)
    stranger.send(pack("hello", role="worker", name="w", session="w"))
    heard(stranger, "tile")
    stranger.send(pack("ack", tiles=[["s", 0, 0, "unusable"]]))
    heard(stranger, "void")
    stranger.send(pack("ack", tiles=[["s", 0, 0, "unusable"]]))
    stranger.send(b"heard behind it")
    while not publisher.sender.link.rejected:
        time.sleep(0.01)
    assert (publisher.sender.unsettled, series.base) == (1, 0)
    stranger.send(pack("ack", tiles=[["s", 0, 0]]))
    assert publisher.window.drained(10)
    assert series.counts.rejected == {"unusable": 1}


def test_an_acknowledgement_of_very_many_tiles_takes_no_time(publisher: Publisher, stranger: zmq.Socket[bytes]) -> None:
    series = publisher.begin("s")
    for _ in range(3):
        series.send(PIXELS, SHAPE)
    stranger.connect(publisher.address)
    stranger.send(pack("ack", tiles=[["x", 0, 65535]] * 1023 + [["s", 1, 65535]]))
    heard(stranger, "ping")
    assert until_the_hub_has_a_turn()
    assert publisher.sender.unsettled == 1


def test_an_envelope_may_have_any_further_fields(stranger: zmq.Socket[bytes]) -> None:
    sink, source = open_sink(f"zmq+{ANY}?delivery=acknowledged"), open_source(f"zmq+{ANY}?delivery=acknowledged&bind=1")
    source.relay = sink.relay
    with sink, source, Subscriber(sink.address) as subscriber:  # type: ignore[attr-defined]
        stranger.connect(source.address)  # type: ignore[attr-defined]
        more = {"body": 1, "op ": 2, "told": 3, "receipt": 4}
        stranger.send(pack("end", series="s", seq=0, base=0, tiles=0, rejected={}, **more))
        assert subscriber.take(timeout=5) is not None


def test_a_sink_that_is_closed_accepts_no_end() -> None:
    sink = open_sink(f"zmq+{ANY}?delivery=acknowledged")
    told: list[str] = []
    with sink:
        pass
    sink.relay(Note("end", Receipt("s", 0, 0, told.append)))
    assert told == []


def test_a_key_file_that_is_away_for_a_moment(tmp_path: Path) -> None:
    for name in ("scanner", "archive"):
        make_keys(name, tmp_path)
    (tmp_path / "trusted").mkdir()
    shutil.copy(tmp_path / "archive.key", tmp_path / "trusted")
    own, trusted = str(tmp_path / "scanner.key_secret"), str(tmp_path / "trusted")
    mine = tmp_path / "archive.key_secret"
    with Publisher(ANY, curve=own, keys=trusted) as first:
        address = first.address
        first.begin("s").send(PIXELS, SHAPE)
        subscriber = Subscriber(address, curve=str(mine), keys=str(tmp_path / "scanner.key"))
        subscriber.open()
        assert subscriber.take(timeout=10) is not None
        subscriber.accept()
        mine.rename(tmp_path / "away")
    while not subscriber.receivers[0].link.rejected:
        time.sleep(0.01)
    (tmp_path / "away").rename(mine)
    with Publisher(address, curve=own, keys=trusted) as second:
        second.begin("t").send(PIXELS, SHAPE)
        assert subscriber.take(timeout=10) is not None
        subscriber.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_process_that_was_forked_has_feeds_of_its_own() -> None:
    """As those of multiprocessing are on Linux before Python 3.14."""
    code = f"""
import faulthandler, os
from stainstream.feed import Publisher, Subscriber
faulthandler.dump_traceback_later(60, exit=True)
def feed():
    with Publisher({ANY!r}) as publisher, Subscriber(publisher.address) as subscriber:
        publisher.begin("s").send(bytes(12), (2, 2, 3))
        assert subscriber.take(timeout=10) is not None, "nothing comes"
        yield
        subscriber.accept()
        assert publisher.window.drained(10), "nothing is accepted"
for _ in feed():
    child = os.fork()
    if not child:
        try:
            list(feed())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk: the scan goes on, and so does the journal when there is room again."""
    code = f"""
import json, resource, sys
from stainstream.feed import Publisher, Subscriber
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
journal = {str(tmp_path / "journal")!r}
with Publisher({ANY!r}, journal=journal) as publisher, Subscriber(publisher.address) as subscriber:
    series = publisher.begin("s")
    def send(count):
        for _ in range(count):
            series.send(bytes(12), (2, 2, 3))
            assert subscriber.take(timeout=10) is not None, "nothing comes"
            subscriber.accept()
        assert publisher.window.drained(10), "nothing is accepted"
    resource.setrlimit(resource.RLIMIT_FSIZE, (180, most))
    send(6)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    send(1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("a restart will send tiles again") == 1
    assert Journal(tmp_path / "journal")["s"]["next"] == 7


def test_a_journal_that_cannot_be_made_anew_grows(tmp_path: Path) -> None:
    (tmp_path / "journal.new").mkdir()
    journal = Journal(tmp_path / "journal")
    for place in range(20):
        journal.put("s", next=place, rest="x" * (1 << 16))
    os.rmdir(tmp_path / "journal.new")
    for place in range(20, 40):
        journal.put("s", next=place, rest="x" * (1 << 16))
    journal.close()
    assert Journal(tmp_path / "journal")["s"]["next"] == 39
    assert (tmp_path / "journal").stat().st_size < 20 << 16


def test_what_others_have_settled_is_not_held_for_good(stranger: zmq.Socket[bytes]) -> None:
    with Subscriber(ANY, bind=True) as subscriber:
        stranger.connect(subscriber.address)
        header = json.dumps({"type": "uint8", "shape": SHAPE}).encode()
        for seq, base in ((2, 0), (9, 9)):
            stranger.send_multipart([pack("tile", series="s", seq=seq, base=base), b"", header, PIXELS])
        item = subscriber.take(timeout=10)
        assert isinstance(item, Tile)
        assert item.sequence == 9
        assert list(subscriber._series["s"].held) == [9]


def test_a_tile_that_came_by_two_ways_is_acknowledged_both_ways() -> None:
    """A runtime that was taken for gone sends what another one has sent as well: neither may keep it for good."""
    with Subscriber(ANY, bind=True) as subscriber, zmq.Context() as context:
        header = json.dumps({"type": "uint8", "shape": SHAPE}).encode()
        ways = [context.socket(zmq.DEALER) for _ in range(2)]
        for way in ways:
            way.linger, way.rcvtimeo = 0, 5_000
            way.connect(subscriber.address)
            way.send_multipart([pack("tile", series="s", seq=0, base=0), b"", header, PIXELS])
            heard(way, "hello")
        assert subscriber.take(timeout=10) is not None
        assert until_the_hub_has_a_turn()
        subscriber.accept()
        for way in ways:
            assert heard(way, "ack")["tiles"] == [["s", 0, 0]]
            way.close()


def test_a_void_that_comes_while_the_tile_is_in_hand(stranger: zmq.Socket[bytes]) -> None:
    """Another worker refused the tile first; the void was left out as if it were the tile once more."""
    with open_source(f"zmq+{ANY}?delivery=acknowledged&bind=1") as source:
        stranger.connect(source.address)  # type: ignore[attr-defined]
        stranger.send_multipart([pack("tile", series="s", seq=0, base=0), b"no header"])
        stranger.send(pack("void", series="s", seq=0, base=0, cause="unusable"))
        stranger.send(b"heard behind them")
        while not source._inlet.receiver.link.rejected:  # type: ignore[attr-defined]
            time.sleep(0.01)
        assert source.take(0.1) is None  # type: ignore[attr-defined]
        assert source.rejected
        assert heard(stranger, "ack")["tiles"] == [["s", 0, 0]]
