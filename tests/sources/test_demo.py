"""The demo source."""

from __future__ import annotations

import itertools
import threading
import time
import tracemalloc

import numpy as np
import pytest

from stainstream.api import open_source
from stainstream.errors import SourceError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sources.barcode import BARCODE, read_barcode


def _frames(address: str) -> list[Frame]:
    with open_source(address) as source:
        return list(source)


def test_frames_are_tissue() -> None:
    (frame,) = _frames("demo?frames=1")
    assert (frame.format, frame.image.shape) == (PixelFormat.RGB8, (512, 512, 3))
    assert frame.image.flags.c_contiguous
    red, green, blue = frame.image.reshape(-1, 3).mean(axis=0)
    assert green < red < blue  # this centre's violet; with red and blue swapped it were pink
    assert len(np.unique(frame.image.reshape(-1, 3), axis=0)) > 20_000


def test_a_frame_follows_from_its_number() -> None:
    for one, other in zip(_frames("demo?frames=5&rate=0"), _frames("demo?frames=5&rate=500&barcode=0"), strict=True):
        assert one.seq == other.seq
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("size", ["1x1", "3x1000", "1920x1080", "2048x2048", "2049x30", "5000x64"])
def test_every_size(size: str) -> None:
    frames = _frames(f"demo?size={size}&rate=0&frames=3")
    width, height = map(int, size.split("x"))
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    assert frames[0].image.tobytes() != frames[1].image.tobytes()


def test_it_pans_smoothly() -> None:
    frames = _frames("demo?size=200x300&rate=0&frames=30")
    for one, other in itertools.pairwise(frames):
        down, right = other.meta["y"] - one.meta["y"], other.meta["x"] - one.meta["x"]
        assert (down, right) == (2, 1)
        np.testing.assert_array_equal(other.image[:-down, :-right], one.image[down:, right:])


@pytest.mark.parametrize("size", ["64x1900", "64x2100"])
def test_it_turns_at_the_edges(size: str) -> None:
    heights = [frame.meta["y"] for frame in _frames(f"demo?size={size}&rate=0&frames=200")]
    assert (min(heights), max(heights)) in {(0, 148), (0, 128)}
    assert set(np.abs(np.diff(heights))) <= {2}


def test_beyond_the_field_it_is_mirrored() -> None:
    (frame,) = _frames("demo?size=4K&rate=0&frames=1")
    np.testing.assert_array_equal(frame.image[:, 2048:], frame.image[:, 2047 : 2047 - (3840 - 2048) : -1])
    np.testing.assert_array_equal(frame.image[2048:], frame.image[2047 : 2047 - (2160 - 2048) : -1])


def test_4k_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        with open_source("demo?size=4K&rate=0&frames=4") as source:
            for frame in source:
                assert frame.width == 3840
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_barcode_is_the_number() -> None:
    frames = _frames(f"demo?size={BARCODE}&rate=0&frames=20&barcode=1")
    assert [read_barcode(frame.image) for frame in frames] == [frame.seq for frame in frames] == list(range(20))


def test_captured_at_the_rate() -> None:
    frames = _frames("demo?size=64x64&rate=100&frames=21")
    times = np.array([frame.captured_ns for frame in frames])
    assert (np.diff(times) > 0).all()
    assert 0.199e9 <= times[-1] - times[0] < 0.4e9
    assert abs(times[-1] - time.monotonic_ns()) < 1e9


def test_stop_ends_a_slow_one_at_once() -> None:
    with open_source("demo?rate=0.01") as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.05, source.stop).start()
        began = time.monotonic()
        assert list(frames) == []
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("size=big", "wrong size 'big'"),
        ("size=0x0", "wrong size"),
        ("size=64x55&barcode=1", "it takes 64x56"),
        ("rate=-1", "rate"),
        ("rate=nan", "rate"),
        ("frames=-1", "frames"),
        ("barcode=maybe", "barcode"),
        ("speed=3", "known keys: size, rate, barcode, frames"),
    ],
)
def test_wrong_options_are_refused(options: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_source(f"demo?{options}")


@pytest.mark.parametrize(("address", "waits"), [("demo", False), ("demo?rate=9", False), ("demo?rate=0", True)])
def test_waits_only_without_a_rate(address: str, waits: bool) -> None:
    assert open_source(address).waits is waits


def test_not_open() -> None:
    with pytest.raises(SourceError, match="it is not open"):
        next(iter(open_source("demo")))
