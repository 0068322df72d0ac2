"""Frames from end to end: numbered, exact, accounted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

import stainstream as ss
from stainstream.config import Settings
from stainstream.errors import SinkError, SourceError
from stainstream.frame import Frame, PixelFormat
from stainstream.report import Report
from stainstream.sinks.base import Sink
from stainstream.sources.base import Source


class Slow(Sink):
    """Takes 20 ms a frame."""

    def __init__(self) -> None:
        super().__init__("slow", Settings())
        self.seen: list[int] = []

    def write(self, frame: Frame) -> None:
        self.stopping.wait(0.02)
        self.seen.append(frame.seq)


class Failing(Sink):
    """Refuses every third frame."""

    def __init__(self) -> None:
        super().__init__("failing", Settings())

    def write(self, frame: Frame) -> None:
        if frame.seq % 3 == 0:
            raise SinkError(f"cannot write frame {frame.seq}", "the disk is full")


class Stuck(Sink):
    """Blocks until told to stop."""

    def __init__(self) -> None:
        super().__init__("stuck", Settings())

    def write(self, frame: Frame) -> None:
        self.stopping.wait()
        raise SinkError(f"gave up on frame {frame.seq}", "nobody takes it")


class Odd(Source):
    """Yields frames, some of which cannot be converted, then is lost."""

    def __init__(self, lost: bool = False) -> None:
        super().__init__("odd", Settings())
        self._lost = lost

    def __iter__(self) -> Iterator[Frame]:
        for seq in range(10):
            if seq == 4:
                self.rejected["not JSON"] += 1
                continue
            kind = PixelFormat.YUV422_8 if seq == 7 else PixelFormat.RGB8
            yield Frame(np.zeros(kind.shape(3, 3), np.uint8), kind, seq, time.monotonic_ns())
        if self._lost:
            raise SourceError("lost odd", "it was unplugged")


class Deaf(Source):
    """Hangs in its driver and does not notice `stop`."""

    def __init__(self) -> None:
        super().__init__("deaf", Settings())

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(np.zeros((16, 16, 3), np.uint8), PixelFormat.RGB8)
        time.sleep(30)


@pytest.fixture(scope="module")
def normalize() -> Iterator[ss.Normalizer]:
    with ss.load("default", "lut_numpy") as loaded:
        yield loaded


def demo(**options: object) -> Source:
    return ss.open_source("demo?size=64x48&" + "&".join(f"{key}={value}" for key, value in options.items()))


def balanced_all_along(pipeline: ss.Pipeline) -> Report:
    """Run, looking at the counters all the time."""
    reports: list[Report] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            reports.append(pipeline.report())
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        final = pipeline.run()
    finally:
        done.set()
        thread.join()
    assert len(reports) > 3
    assert all(report.balanced for report in reports)
    assert final.balanced
    assert all(account.under_way == 0 for account in final.sinks.values())
    return final


def test_a_slow_sink_drops_in_live_and_counts_it(normalize: ss.Normalizer) -> None:
    slow = Slow()
    report = balanced_all_along(
        ss.Pipeline(
            demo(rate=400, frames=150), normalize.engine, {"slow": slow, "null": ss.open_sink("null")}, capacity=2
        )
    )
    assert report.captured == 150
    assert report.sinks["slow"].dropped["sink busy"] > 50
    assert report.sinks["null"].delivered > 2 * report.sinks["slow"].delivered  # the slow one does not hold it up
    assert slow.seen == sorted(set(slow.seen))
    assert slow.seen[-1] == 149  # the newest wins


def test_a_slow_sink_drops_nothing_in_lossless(normalize: ss.Normalizer) -> None:
    slow = Slow()
    report = balanced_all_along(
        ss.Pipeline(demo(rate=0, frames=40), normalize.engine, {"slow": slow}, policy="lossless", capacity=1)
    )
    assert (report.captured, report.delivered) == (40, 40)
    assert slow.seen == list(range(40))


def test_a_source_faster_than_the_engine_is_counted(normalize: ss.Normalizer) -> None:
    source = ss.open_source("demo?size=640x480&rate=0&frames=300")
    report = balanced_all_along(ss.Pipeline(source, normalize.engine, {"null": ss.open_sink("null")}, capacity=1))
    assert report.captured == 300
    assert report.sinks["null"].dropped["engine busy"] > 0


def test_a_failing_sink_is_counted_and_the_stream_goes_on(normalize: ss.Normalizer) -> None:
    pipeline = ss.Pipeline(
        demo(rate=300, frames=60), normalize.engine, {"failing": Failing(), "null": ss.open_sink("null")}, capacity=60
    )
    report = balanced_all_along(pipeline)
    assert report.sinks["failing"].dropped["sink failed"] == 20
    assert report.sinks["null"].delivered == 60


def test_a_failing_sink_ends_a_lossless_stream(normalize: ss.Normalizer) -> None:
    pipeline = ss.Pipeline(demo(rate=50), normalize.engine, {"failing": Failing()}, policy="lossless")
    with pytest.raises(SinkError, match="disk is full"):
        pipeline.run()
    report = pipeline.report()
    assert report.balanced
    assert report.sinks["failing"].dropped["sink failed"] >= 1


def test_bad_frames_are_rejected_and_the_stream_goes_on(normalize: ss.Normalizer) -> None:
    report = ss.Pipeline(Odd(), normalize.engine, {"null": ss.open_sink("null")}, policy="lossless").run()
    assert (report.captured, report.delivered) == (10, 8)
    assert report.rejected == {"not JSON": 1, "unusable frame": 1}
    assert report.balanced


def test_a_source_that_is_lost_ends_the_stream_with_its_error(normalize: ss.Normalizer) -> None:
    pipeline = ss.Pipeline(Odd(lost=True), normalize.engine, {"null": ss.open_sink("null")}, policy="lossless")
    with pytest.raises(SourceError, match="unplugged"):
        pipeline.run()
    assert pipeline.report().delivered == 8  # what had come was delivered


@pytest.mark.parametrize("policy", ["live", "lossless"])
def test_stop_ends_in_time_whatever_blocks(normalize: ss.Normalizer, policy: str) -> None:
    kind = "live" if policy == "live" else "lossless"
    pipeline = ss.Pipeline(demo(rate=100), normalize.engine, {"stuck": Stuck()}, policy=kind)  # type: ignore[arg-type]
    threading.Timer(0.3, pipeline.stop).start()
    start = time.monotonic()
    report = pipeline.run()
    assert time.monotonic() - start < 0.3 + 2.0
    assert report.balanced
    assert report.sinks["stuck"].dropped["stopped"] > 0
    assert report.sinks["stuck"].under_way == 0


def test_a_source_that_hangs_is_left_behind(normalize: ss.Normalizer) -> None:
    pipeline = ss.Pipeline(Deaf(), normalize.engine, {"null": ss.open_sink("null")}, seconds=0.2)
    start = time.monotonic()
    report = pipeline.run()
    assert time.monotonic() - start < 2.2
    assert report.delivered == 1


def test_files_are_finished_though_the_source_hangs(normalize: ss.Normalizer, tmp_path: Path) -> None:
    """A camera whose driver hangs must not cost the recording."""
    video = tmp_path / "out.mp4"
    ss.Pipeline(Deaf(), normalize.engine, {"video": ss.open_sink(str(video))}, seconds=0.2).run()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]  # and no part of one


def test_without_an_engine_frames_pass_unchanged() -> None:
    memory = ss.open_sink("memory")
    ss.Pipeline(demo(rate=0, frames=3), None, {"memory": memory}, policy="lossless").run()
    with demo(rate=0, frames=3) as source:
        for sent, kept in zip(source, memory.frames, strict=True):  # type: ignore[attr-defined]
            assert np.array_equal(sent.image, kept.image)


def test_metadata_passes_and_the_model_is_named(normalize: ss.Normalizer) -> None:
    memory = ss.open_sink("memory")
    ss.Pipeline(
        demo(rate=0, frames=2), normalize.engine, {"memory": memory}, policy="lossless", meta=normalize.meta
    ).run()
    meta = memory.frames[1].meta  # type: ignore[attr-defined]
    assert {"x", "y"} <= set(meta)
    assert normalize.model is not None
    assert meta["model"]["sha256"] == normalize.model.digest


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
@pytest.mark.parametrize("engine", ["lut_numpy", "lut_numba"])
def test_frame_n_arrives_as_the_normalized_frame_n(tmp_path: Path, transport: str, engine: str) -> None:
    """Over real sockets, flat out, while buffers are used again and again: no tearing, no reused live buffer."""
    count, size = 400, "160x120"
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.rcvtimeo, socket.rcvhwm = 10_000, 2
        if transport == "ipc":
            address = f"ipc://{tmp_path / 's'}"
            socket.bind(address)
        else:
            address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        with ss.load("default", engine) as normalize, ss.load("default", "lut_numpy") as reference:
            sink = ss.open_sink(f"zmq+{address}?pattern=push&bind=0&format=array-1.0")
            source = ss.open_source(f"demo?size={size}&rate=0&frames={count}&barcode=1")
            pipeline = ss.Pipeline(source, normalize.engine, {"zmq": sink}, policy="lossless", meta=normalize.meta)
            thread = threading.Thread(target=pipeline.run)
            thread.start()
            with ss.open_source(f"demo?size={size}&rate=0&frames={count}&barcode=1") as again:
                for sent in again:
                    header, payload = socket.recv_multipart(copy=False)
                    image = np.frombuffer(payload.buffer, np.uint8).reshape(sent.image.shape)
                    assert f'"frame":{sent.seq},' in bytes(header.buffer).decode().replace(" ", "") + ","
                    assert np.array_equal(image, reference(sent.image)), f"frame {sent.seq} is not f(frame {sent.seq})"
                    if sent.seq % 50 == 0:
                        time.sleep(0.02)  # let the sender run into full queues
            thread.join(5)
    assert pipeline.report().delivered == count


def test_a_neighbor_in_this_process_keeps_its_pixels(normalize: ss.Normalizer) -> None:
    """Over inproc no byte is copied: what comes in is the sender's own memory."""
    mine = np.full((20, 30, 3), 60, np.uint8)
    memory = ss.open_sink("memory")
    source = ss.open_source("zmq+inproc://neighbor?pattern=pull&bind=1&format=array-1.0")
    pipeline = ss.Pipeline(source, normalize.engine, {"memory": memory}, policy="lossless", frames=1)
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    with ss.open_sink("zmq+inproc://neighbor?pattern=push&bind=0&format=array-1.0") as sink:
        sink.write(Frame(mine, PixelFormat.RGB8))
        thread.join(10)
    assert np.array_equal(memory.frames[0].image, normalize(mine))  # type: ignore[attr-defined]
    assert (mine == 60).all()


def test_a_writeable_image_is_normalized_where_it_lies(normalize: ss.Normalizer) -> None:
    """And one that is not is left alone: that is how a source says that it still needs its pixels."""
    images = [np.full((4, 5, 3), 90, np.uint8) for _ in range(2)]
    images[1].flags.writeable = False

    class Two(Source):
        def __iter__(self) -> Iterator[Frame]:
            for seq, image in enumerate(images):
                yield Frame(image, PixelFormat.RGB8, seq)

    ss.Pipeline(Two("two", Settings()), normalize.engine, {"null": ss.open_sink("null")}, policy="lossless").run()
    assert np.array_equal(images[0], normalize(np.full((4, 5, 3), 90, np.uint8)))
    assert (images[1] == 90).all()


class Pairs(Sink):
    """Keeps what it is given, with the raw pixels if it is to want them."""

    def __init__(self, wants_raw: bool) -> None:
        super().__init__("pairs", Settings())
        self._wants_raw = wants_raw
        self.frames: list[Frame] = []

    @property
    def wants_raw(self) -> bool:
        return self._wants_raw

    def write(self, frame: Frame) -> None:
        self.frames.append(frame)


@pytest.mark.parametrize("kind", ["RGB8", "BGR8"])
def test_a_sink_gets_the_raw_pixels_of_the_same_frame(normalize: ss.Normalizer, kind: str) -> None:
    pairs, other = Pairs(wants_raw=True), Pairs(wants_raw=False)
    source = demo(rate=0, frames=30) if kind == "RGB8" else Blue()
    ss.Pipeline(source, normalize.engine, {"pairs": pairs, "other": other}, policy="lossless").run()
    for frame, same in zip(pairs.frames, other.frames, strict=True):
        assert frame.raw is not None
        assert not np.shares_memory(frame.raw, frame.image)
        assert np.array_equal(normalize(frame.raw), frame.image)
        assert same.image is frame.image


class Blue(Source):
    """Frames that are not RGB."""

    def __init__(self) -> None:
        super().__init__("blue", Settings())

    def __iter__(self) -> Iterator[Frame]:
        for seq in range(30):
            yield Frame(np.full((9, 7, 3), (200, 7 * seq, 90), np.uint8), PixelFormat.BGR8, seq)


def test_nobody_is_given_raw_pixels_that_nobody_wants(normalize: ss.Normalizer) -> None:
    pairs = Pairs(wants_raw=False)
    ss.Pipeline(demo(rate=0, frames=3), normalize.engine, {"pairs": pairs}, policy="lossless").run()
    assert [frame.raw for frame in pairs.frames] == [None] * 3


class Blinks:
    """A watcher: sees each frame as it came, and counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.seen: list[tuple[int, int]] = []

    def see(self, rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], frame: Frame) -> dict[str, int]:
        self.seen.append((frame.seq, int(rgb.sum(dtype=np.int64))))
        self.counts["blinks"] = len(self.seen)
        return {"blink": frame.seq}


def test_a_watcher_sees_every_frame_before_it_is_normalized(normalize: ss.Normalizer) -> None:
    blinks, memory = Blinks(), ss.open_sink("memory")
    pipeline = ss.Pipeline(
        demo(rate=0, frames=5), normalize.engine, {"memory": memory}, policy="lossless", watchers=[blinks]
    )
    report = pipeline.run()
    with demo(rate=0, frames=5) as source:
        assert blinks.seen == [(frame.seq, int(frame.image.sum(dtype=np.int64))) for frame in source]
    assert [frame.meta["blink"] for frame in memory.frames] == list(range(5))  # type: ignore[attr-defined]
    assert report.notes == {"blinks": 5}
    assert report.lines()[-1] == "notes: 5 (blinks 5)"


def test_engines_are_swapped_between_two_frames_and_never_inside_one() -> None:
    """Under load, each frame is the work of one of two engines, as its metadata says, and the old one may be closed."""

    def fill(level: int) -> ss.Normalizer:
        return ss.load(Flat(level), "lut_numba", threads=2)

    pairs = Pairs(wants_raw=False)
    first = fill(10)
    pipeline = ss.Pipeline(
        ss.open_source("demo?size=1200x900&rate=0"), first.engine, {"pairs": pairs}, seconds=20, meta={"level": 10}
    )
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    current = first
    for level in (20, 30, 40, 50):
        count = len(pairs.frames)
        while len(pairs.frames) < count + 5:
            time.sleep(0.001)
        fresh = fill(level)
        pipeline.swap(fresh.engine, {"level": level})
        current.close()
        current = fresh
    pipeline.stop()
    thread.join(10)
    current.close()
    levels = [frame.meta["level"] for frame in pairs.frames]
    assert {10, 20, 30, 40, 50} >= set(levels) >= {10, 20, 30, 40}
    assert levels == sorted(levels)
    for frame in pairs.frames:
        assert (frame.image == frame.meta["level"]).all()
    assert pipeline.report().rejected == {}


class Flat:
    """Makes every color one gray."""

    def __init__(self, level: int) -> None:
        self.name, self._level = f"flat {level}", level

    def __call__(self, rgb: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        return np.full_like(rgb, self._level / 255.0)
