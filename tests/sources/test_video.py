"""Frames of a video file."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stainstream.api import open_source
from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError, UsageError
from stainstream.frame import RGB8, PixelFormat
from stainstream.opencv import quiet
from stainstream.sources.barcode import read_barcode

RATE = 50.0


@pytest.fixture(scope="module")
def tissue() -> list[RGB8]:
    """Frames 0 to 19 of the demo, numbered."""
    with open_source("demo?size=160x128&rate=0&frames=20&barcode=1") as demo:
        return [frame.image for frame in demo]


def _film(path: Path, images: list[RGB8], codec: str = "MJPG") -> Path:
    quiet()
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), RATE, (width, height))
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("name", "codec", "error"),
    [
        ("a.avi", "MJPG", 6),
        ("a.mp4", "mp4v", 8),
        ("a.mkv", "FFV1", 0),
        ("größe.mov", "mp4v", 8),
        ("%03d.m4v", "mp4v", 8),
    ],
)
def test_frames_as_they_were_filmed(tmp_path: Path, tissue: list[RGB8], name: str, codec: str, error: float) -> None:
    with open_source(str(_film(tmp_path / name, tissue, codec))) as source:
        frames = list(source)
    assert [frame.seq for frame in frames] == list(range(20))
    assert source.lost == 0
    for number, (frame, image) in enumerate(zip(frames, tissue, strict=True)):
        assert frame.format is PixelFormat.BGR8
        rgb = to_rgb8(frame.image, frame.format)
        assert read_barcode(rgb) == number
        assert np.abs(rgb.astype(int) - image).mean() <= error
        assert frame.meta == {"video": name, "time_ms": pytest.approx(number * 1000 / RATE, abs=1.1)}


def test_again_and_again(tmp_path: Path, tissue: list[RGB8]) -> None:
    with open_source(f"{_film(tmp_path / 'a.avi', tissue[:3])}?loop=1") as source:
        frames = [frame for _, frame in zip(range(8), source, strict=False)]
    assert [frame.seq for frame in frames] == list(range(8))
    assert [read_barcode(frame.image) for frame in frames] == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(("options", "rate"), [("realtime=1", RATE), ("rate=100", 100.0)])
def test_keeps_a_rate(tmp_path: Path, tissue: list[RGB8], options: str, rate: float) -> None:
    with open_source(f"{_film(tmp_path / 'a.avi', tissue)}?{options}") as source:
        times = [frame.captured_ns for frame in source]
    assert 19 / rate * 0.999e9 <= times[-1] - times[0] < 19 / rate * 1e9 + 0.2e9


def test_a_truncated_file_gives_what_it_has(
    tmp_path: Path, tissue: list[RGB8], caplog: pytest.LogCaptureFixture
) -> None:
    path = _film(tmp_path / "a.avi", tissue)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with caplog.at_level(logging.WARNING), open_source(str(path)) as source:
        numbers = [read_barcode(frame.image) for frame in source]
    assert numbers == list(range(len(numbers)))
    assert 8 <= len(numbers) < 16
    assert source.lost + source.rejected["undecodable frame"] + len(numbers) == 20
    assert any("of the 20 frames that it promises" in line for line in caplog.messages)


@pytest.mark.parametrize("left", [0.0, 0.5, 0.95])
def test_a_file_without_its_index_cannot_be_opened(tmp_path: Path, tissue: list[RGB8], left: float) -> None:
    path = _film(tmp_path / "a.mp4", tissue, "mp4v")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    source = open_source(str(path))
    with pytest.raises(SourceError, match=r"cannot read .*a.mp4: FFmpeg cannot read it"):
        source.open()
    assert not source.is_open


def test_junk_says_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_text("no video" * 100)
    with pytest.raises(SourceError, match="damaged"):
        open_source(str(tmp_path / "a.mp4")).open()
    assert capfd.readouterr() == ("", "")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none.avi: there is no such file"):
        open_source(str(tmp_path / "none.avi")).open()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="known keys: loop, rate, realtime"):
        open_source("a.mp4?speed=2")


def test_not_open() -> None:
    with pytest.raises(SourceError, match="not open"):
        next(iter(open_source("a.mp4")))


@pytest.mark.parametrize("options", ["rate=0.01", "loop=1"])
def test_stop_ends_it_at_once(tmp_path: Path, tissue: list[RGB8], options: str) -> None:
    with open_source(f"{_film(tmp_path / 'a.avi', tissue)}?{options}") as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.05, source.stop).start()
        began = time.monotonic()
        for _ in frames:
            pass
        assert time.monotonic() - began < 0.5


def test_closing_while_another_thread_reads_is_safe(tmp_path: Path, tissue: list[RGB8]) -> None:
    source = open_source(f"{_film(tmp_path / 'a.avi', tissue)}?loop=1")
    source.open()
    seen: list[int] = []
    reading = threading.Thread(target=lambda: seen.extend(frame.seq for frame in source))
    reading.start()
    time.sleep(0.1)
    source.close()
    source.stop()
    reading.join(2)
    assert not reading.is_alive()
    assert seen
