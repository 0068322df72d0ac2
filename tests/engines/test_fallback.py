"""An engine that fails, and the one that takes over."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stainstream as ss
from stainstream.color.lut import COLORS, Lut
from stainstream.engines import Engine
from stainstream.engines.fallback import Fallback
from stainstream.engines.lut_numpy import LutNumpy
from stainstream.errors import EngineError, FrameError
from stainstream.frame import RGB8
from stainstream.sinks.memory import Memory
from stainstream.stream.pipeline import Pipeline

INVERTED = Lut(np.uint32(0xFFFFFF) - np.arange(COLORS, dtype=np.uint32), "inverted")
IMAGE: RGB8 = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


class Mortal(LutNumpy):
    """Fails from the frame `after` on, having spoiled its output; works on frames only while they arrive."""

    def __init__(self, after: int, depth: int = 3) -> None:
        super().__init__(INVERTED)
        self.left, self._depth = after, depth
        self.lent: list[int] = []

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def pins(self) -> bool:
        return True

    def buffer(self, height: int, width: int) -> RGB8:
        made = super().buffer(height, width)
        self.lent.append(made.ctypes.data)
        return made

    def _run(self, rgb: RGB8, out: RGB8) -> None:
        self._start(rgb, out)()

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        self.left -= 1
        lives = self.left >= 0

        def arrive() -> None:
            if not lives:
                out[...] = 77
                raise EngineError("cannot run a kernel", "the GPU is lost")
            super(Mortal, self)._run(rgb, out)

        return arrive


def _fallback(after: int) -> Fallback:
    return Fallback(Mortal(after), lambda: LutNumpy(INVERTED))


@pytest.mark.parametrize("in_place", [False, True])
def test_the_frame_that_failed_and_all_after_it_are_right(caplog: pytest.LogCaptureFixture, *, in_place: bool) -> None:
    with _fallback(2) as engine:
        assert (engine.title, engine.depth, engine.pins) == ("Mortal", 3, True)
        for _ in range(5):
            image = IMAGE.copy()
            np.testing.assert_array_equal(engine(image, image if in_place else None), 255 - IMAGE)
        assert (engine.title, engine.depth, engine.pins) == ("LutNumpy", 1, False)
        assert dict(engine.counts) == {"normalized again after the GPU failed": 1}
        assert "LutNumpy: 1 thread, since cannot run a kernel: the GPU is lost" in engine.detail
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the GPU is lost; from here on LutNumpy normalizes" in record.getMessage()


def test_frames_begun_before_it_failed_are_normalized_again() -> None:
    with _fallback(1) as engine:
        finish = [engine.submit(IMAGE, np.zeros_like(IMAGE)) for _ in range(4)]
        for each in finish:
            np.testing.assert_array_equal(each(), 255 - IMAGE)
        assert sum(engine.counts.values()) == 3


def test_a_wrong_image_is_no_failure() -> None:
    with _fallback(9) as engine:
        with pytest.raises(FrameError):
            engine(np.zeros((2, 2), np.uint8))
        assert engine.title == "Mortal"


def test_closed_is_closed() -> None:
    engine = _fallback(0)
    with pytest.raises(EngineError, match="is closed"):
        engine(IMAGE)
    with engine:
        engine(IMAGE)
    with pytest.raises(EngineError, match="is closed"):
        engine.submit(IMAGE, IMAGE.copy())


def _stream(engine: Engine, **options: Any) -> tuple[Pipeline, Memory]:
    sink = Memory("memory", Memory.Options())
    source = ss.open_source("demo?size=64x48&rate=0&frames=40")
    meta = {"model": {"name": "inverted", "engine": engine.title}}
    return Pipeline(source, engine, {"memory": sink}, policy="lossless", meta=meta, **options), sink


def test_a_stream_loses_no_frame_and_says_which_engine_made_each() -> None:
    with _fallback(10) as engine:
        pipeline, sink = _stream(engine)
        report = pipeline.run()
    assert report.delivered == report.captured == 40
    assert 1 <= report.notes["normalized again after the GPU failed"] <= 3
    with ss.open_source("demo?size=64x48&rate=0&frames=40") as source:
        for frame, raw in zip(sink.frames, source, strict=True):
            np.testing.assert_array_equal(frame.image, 255 - raw.image)
    engines = [frame.meta["model"]["engine"] for frame in sink.frames]
    assert engines == ["Mortal"] * 10 + ["LutNumpy"] * 30


def test_a_stream_without_a_spare_engine_rejects_and_counts() -> None:
    with Mortal(10) as engine:
        pipeline, _ = _stream(engine)
        report = pipeline.run()
    assert report.rejected == {"engine failed": 30}
    assert report.delivered == 10


class Watched(Mortal):
    """Notes where frames lie that it is given, and how many are under way."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.targets: list[int] = []
        self.under_way = self.most = 0

    def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
        assert not np.may_share_memory(rgb, out)
        self.targets.append(out.ctypes.data)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        finish = super()._start(rgb, out)

        def arrive() -> None:
            self.under_way -= 1
            finish()

        return arrive


def test_a_stream_normalizes_straight_into_the_engines_own_memory_several_frames_at_a_time() -> None:
    with Watched() as engine:
        pipeline, sink = _stream(engine, capacity=8)
        assert pipeline.run().delivered == 40
    assert set(engine.targets) <= set(engine.lent)
    assert len(engine.lent) < 40  # used again
    assert 1 < engine.most <= 3
    assert [frame.seq for frame in sink.frames] == list(range(40))


def test_what_must_be_converted_is_converted_into_the_engines_memory() -> None:
    from stainstream.frame import Frame, PixelFormat
    from stainstream.sources.demo import Demo

    class Gray(Demo):
        def __iter__(self) -> Any:
            for frame in super().__iter__():
                yield Frame(np.ascontiguousarray(frame.image[..., 0]), PixelFormat.Mono8, frame.seq)

    sources: list[int] = []

    class Sees(Watched):
        def _start(self, rgb: RGB8, out: RGB8) -> Callable[[], None]:
            sources.append(rgb.ctypes.data)
            return super()._start(rgb, out)

    with Sees() as engine:
        sink = Memory("memory", Memory.Options())
        source = Gray("demo", Demo.Options(size="64x48", rate=0, frames=10))
        Pipeline(source, engine, {"memory": sink}, policy="lossless").run()
    assert len(sink.frames) == 10
    assert set(sources) <= set(engine.lent)
