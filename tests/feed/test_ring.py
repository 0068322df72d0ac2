"""Shared memory: nothing torn, nothing used again too early, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from typing import Any

import numpy as np
import pytest
import zmq

from stainstream.api import open_sink, open_source
from stainstream.feed.hub import HUB
from stainstream.feed.message import pack, unpack
from stainstream.feed.ring.board import ENTRIES, place
from stainstream.frame import Frame, PixelFormat
from stainstream.sources import Feed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shm:// needs Linux")


@pytest.fixture
def name() -> str:
    return f"shm://test-{uuid.uuid4().hex[:12]}"


def frame(seq: int, side: int = 64) -> Frame:
    return Frame(np.full((side, side, 3), seq % 251, np.uint8), PixelFormat.RGB8, seq, time.monotonic_ns())


def test_every_reader_gets_every_frame_and_none_is_torn(name: str) -> None:
    seen: list[list[int]] = [[], []]
    with open_sink(f"{name}?delivery=lossless&slots=3") as sink:
        ready = threading.Barrier(3)

        def read(mine: list[int]) -> None:
            kept: list[Any] = []
            with open_source(f"{name}?delivery=lossless") as source:
                threading.Timer(0.3, ready.wait).start()
                for each in source:
                    assert (each.image == each.seq % 251).all()
                    mine.append(each.seq)
                    kept = [*kept, each.image][-1:]  # held while the next ones come
                    assert (kept[0] == each.seq % 251).all()
                    if len(mine) == 300:
                        return

        threads = [threading.Thread(target=read, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        ready.wait()
        for seq in range(300):
            sink.write(frame(seq))
        for thread in threads:
            thread.join()
    assert seen == [list(range(300))] * 2


def test_a_slot_is_not_used_again_while_its_pixels_are_referred_to(name: str) -> None:
    with open_sink(f"{name}?slots=2") as sink, open_source(name) as source:
        frames = iter(source)
        threading.Timer(0.3, sink.write, (frame(1),)).start()
        first = next(frames).image[::2]
        for seq in range(2, 40):
            sink.write(frame(seq))
            time.sleep(0.002)
        assert (first == 1).all()
        assert not first.flags.writeable
        assert next(frames).seq > 1


def test_frames_may_become_larger(name: str) -> None:
    with open_sink(f"{name}?delivery=lossless") as sink, open_source(f"{name}?delivery=lossless") as source:
        frames = iter(source)
        for side in (16, 64, 32, 128):
            sink.write(frame(side, side))
            taken = next(frames)
            assert taken.image.shape == (side, side, 3)
            assert (taken.image == side).all()


def test_a_reader_that_is_killed_frees_what_it_held(name: str) -> None:
    code = f"""
from stainstream.api import open_source
with open_source({name + "?delivery=lossless"!r}) as source:
    kept = []
    for frame in source:
        kept.append(frame)
        print(len(kept), flush=True)
"""
    with open_sink(f"{name}?delivery=lossless&slots=3") as sink:
        reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert reader.stdout is not None
        for seq in range(3):
            sink.write(frame(seq))
        for _ in range(3):
            reader.stdout.readline()  # it holds all slots now
        waiting = threading.Thread(target=sink.write, args=(frame(3),))
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
        reader.kill()
        reader.wait()
        reader.stdout.close()
        with open_source(f"{name}?delivery=lossless") as source:
            assert next(iter(source)).seq == 3
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_writer_that_is_killed_leaves_nothing_behind_and_may_come_back(name: str) -> None:
    code = f"""
import numpy as np, time
from stainstream.api import open_sink
from stainstream.frame import Frame, PixelFormat
from stainstream.sources import Feed
with open_sink({name!r}) as sink:
    for seq in range(10**6):
        sink.write(Frame(np.full((64, 64, 3), 7, np.uint8), PixelFormat.RGB8, seq))
        time.sleep(0.005)
"""
    with open_source(name) as source:
        frames = iter(source)
        for _ in range(2):
            writer = subprocess.Popen([sys.executable, "-c", code])
            kept = [next(frames) for _ in range(3)]
            writer.kill()
            writer.wait()
            assert all((each.image == 7).all() for each in kept)


def test_what_a_closed_reader_still_refers_to_is_free_later(name: str) -> None:
    with open_sink(f"{name}?delivery=lossless&slots=2") as sink:
        with open_source(f"{name}?delivery=lossless") as source:
            frames = iter(source)
            sink.write(frame(0))
            sink.write(frame(1))
            kept = [next(frames), next(frames)]
            frames.close()  # type: ignore[attr-defined]
        with open_source(f"{name}?delivery=lossless") as source:
            waiting = threading.Thread(target=sink.write, args=(frame(2),))
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive()
            assert [int(each.image[0, 0, 0]) for each in kept] == [0, 1]
            del kept
            assert next(iter(source)).seq == 2
            waiting.join()


def test_a_frame_is_written_where_it_is_read(name: str) -> None:
    with open_sink(f"{name}?delivery=lossless&slots=2") as sink, open_source(f"{name}?delivery=lossless") as source:
        frames = iter(source)
        for seq in range(20):
            room = sink.lend(8, 8)
            assert room is not None
            room[...] = seq
            sink.write(Frame(room, PixelFormat.RGB8, seq))
            del room
            taken = next(frames)
            assert (taken.image == seq).all()
            del taken


def test_what_was_lent_and_not_given_is_free_again(name: str) -> None:
    with open_sink(f"{name}?slots=2") as sink:
        one, other = sink.lend(8, 8), sink.lend(8, 8)
        assert one is not None
        assert other is not None
        assert sink.lend(8, 8) is None
        del other
        assert sink.lend(8, 8) is not None
        view = one[1:]
        del one
        assert not np.shares_memory(view, sink.lend(8, 8))
        assert sink.lend(8, 8) is not None


def test_a_reader_that_closes_gives_back_what_it_was_told_of(name: str) -> None:
    with open_sink(f"{name}?delivery=lossless&slots=3") as sink:
        for turn in range(70):
            with open_source(f"{name}?delivery=lossless") as source:
                sink.write(frame(turn))  # waits for the reader, and is not looked at
            assert source.rejected == {}
        with open_source(f"{name}?delivery=lossless") as source:
            sink.write(frame(7))
            assert next(iter(source)).seq == 7


@pytest.mark.parametrize("delivery", ["live", "lossless"])
def test_a_frame_that_is_kept_holds_up_nobody(name: str, delivery: str) -> None:
    with open_sink(f"{name}?delivery={delivery}") as sink, open_source(f"{name}?delivery={delivery}") as source:
        frames = iter(source)
        threading.Timer(0.3, sink.write, (frame(0, 8),)).start()
        kept = next(frames)
        last = 2 * ENTRIES + 10
        for seq in range(1, last):
            sink.write(frame(seq, 8))
            if delivery == "lossless" or seq == last - 1:
                taken = next(frames)
                assert taken.seq == seq
                assert (taken.image == seq % 251).all()
                del taken
        assert source.rejected == {}
        assert (kept.image == 0).all()
        writer = sink._writer  # type: ignore[attr-defined]
        assert writer.dropped == 0
        del kept
        assert writer.lend(8) is not None
        assert 1 not in writer._out  # what was kept is free again


def test_a_lossless_reader_that_is_disconnected_for_a_while_misses_nothing(name: str) -> None:
    """It read slots that others' frames were being written to when it was back."""
    address = f"{name}?delivery=lossless"
    path = place(name.partition("://")[2]).partition("://")[2]
    with open_sink(f"{address}&slots=3") as sink, open_source(address) as one, open_source(address) as other:
        writer = sink._writer  # type: ignore[attr-defined]
        while sum(each.seat.open for each in writer._readers.values()) < 2:
            time.sleep(0.01)
        consumer = threading.Thread(target=lambda: deque(one, maxlen=0))
        consumer.start()
        os.rename(path, f"{path}-away")  # nobody can connect
        HUB.post(other._reader.link.recover)  # type: ignore[attr-defined]
        while not writer._away:
            time.sleep(0.01)
        giver = threading.Thread(target=lambda: [sink.write(frame(seq)) for seq in range(20)])
        giver.start()
        seen = []
        for seq in range(20):
            if seq == 10:
                os.rename(f"{path}-away", path)
            taken = next(iter(other))
            assert (taken.image == taken.seq).all()
            seen.append(taken.seq)
        giver.join()
        one.stop()
        consumer.join()
    assert seen == list(range(20))


def test_a_reader_is_told_of_its_seat_until_it_sits_there(name: str) -> None:
    """It may be short of files at the moment, and cannot map the board."""
    with open_sink(name), zmq.Context() as context, context.socket(zmq.DEALER) as reader:
        reader.linger, reader.rcvtimeo = 0, 10_000
        reader.connect(place(name.partition("://")[2]))
        boards = 0
        while boards < 2:
            reader.send(pack("hello", role="live", name="r", session="r", pid=os.getpid()))
            boards += unpack(reader.recv())["op"] == "board"


def test_a_reader_that_wants_all_of_a_live_ring_is_told_that_it_will_not_get_them(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_sink(f"{name}?delivery=live") as sink, open_source(f"{name}?delivery=lossless") as source:
        assert isinstance(source, Feed)
        end = time.monotonic() + 10
        while "this feed is live: ask with delivery=live" not in caplog.text and time.monotonic() < end:
            sink.write(frame(0))
            assert source.take(0.02) is None
    assert "this feed is live: ask with delivery=live" in caplog.text
