"""A video file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from stainstream.api import open_sink, open_source
from stainstream.color.convert import to_rgb8
from stainstream.errors import SinkError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sources.barcode import read_barcode


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Frames 0 to 11 of the demo, numbered."""
    with open_source("demo?size=160x128&rate=0&frames=12&barcode=1") as demo:
        return list(demo)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("a.mp4", "", 8),
        ("a.avi", "", 6),
        ("a.mov", "", 8),
        ("a.m4v", "", 8),
        ("größe 1.mkv", "", 8),
        ("a.mkv", "codec=FFV1&rate=12.5", 0),
        ("a.avi", "codec=FFV1", 0),
    ],
)
def test_what_is_written_can_be_read(
    tmp_path: Path, frames: list[Frame], name: str, options: str, error: float
) -> None:
    path = tmp_path / "new" / name
    with open_sink(f"{path}?{options}" if options else str(path)) as sink:
        for frame in frames:
            sink.write(frame)
        assert not path.exists()
    assert _names(path.parent) == [name]
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5 if "rate" in options else 30)
    with open_source(str(path)) as source:
        for written, read in zip(frames, source, strict=True):
            rgb = to_rgb8(read.image, read.format)
            assert read_barcode(rgb) == written.seq
            assert np.abs(rgb.astype(int) - written.image).mean() <= error


def test_a_frame_of_another_size_is_refused(tmp_path: Path, frames: list[Frame]) -> None:
    with open_sink(str(tmp_path / "a.mp4")) as sink:
        sink.write(frames[0])
        smaller = Frame(np.zeros((64, 64, 3), np.uint8), PixelFormat.RGB8, 7)
        with pytest.raises(SinkError, match=r"cannot write frame 7 to .*: it is 64x64, the others are 160x128"):
            sink.write(smaller)
        sink.write(frames[1])
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert [read_barcode(frame.image) for frame in source] == [0, 1]


def test_views_are_written_as_they_look(tmp_path: Path, frames: list[Frame]) -> None:
    view = frames[0].image[::-2, ::2]
    with open_sink(f"{tmp_path / 'a.mkv'}?codec=FFV1") as sink:
        sink.write(Frame(view, PixelFormat.RGB8))
    with open_source(str(tmp_path / "a.mkv")) as source:
        (frame,) = source
    np.testing.assert_array_equal(frame.image[..., ::-1], view)


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path, frames: list[Frame]) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("older")
    with open_sink(str(path)):
        assert path.read_text() == "older"
    assert path.read_text() == "older"  # no frame came
    with open_sink(str(path)) as sink:
        sink.write(frames[0])
        assert path.read_text() == "older"
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 1
    assert _names(tmp_path) == ["a.mp4"]


def test_can_be_opened_again(tmp_path: Path, frames: list[Frame]) -> None:
    sink = open_sink(str(tmp_path / "a.avi"))
    for count in (3, 1):
        with sink:
            for frame in frames[:count]:
                sink.write(frame)
        assert cv2.VideoCapture(str(tmp_path / "a.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == count


@pytest.mark.parametrize("codec", ["zzzz", "H264", "avc1"])
def test_a_codec_that_is_not_there(tmp_path: Path, codec: str) -> None:
    sink = open_sink(f"{tmp_path / 'a.avi'}?codec={codec}")
    try:
        sink.open()
    except SinkError as error:
        assert codec in str(error)  # noqa: PT017 - which codecs are there depends on the system
        assert not sink.is_open
        assert _names(tmp_path) == []
    else:
        assert codec != "zzzz"
        sink.close()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = open_sink(str(tmp_path / "file" / "a.mp4"))
    with pytest.raises(SinkError, match=r"cannot write .*a.mp4: ") as error:
        sink.open()
    assert "\n" not in str(error.value)
    assert not sink.is_open


def test_a_disk_with_too_little_room(tmp_path: Path, frames: list[Frame]) -> None:
    sink = open_sink(f"{tmp_path / 'a.mp4'}?reserve_mb=1000000000")
    with sink, pytest.raises(SinkError, match="less than 1000000000 MB are free on the disk"):
        sink.write(frames[0])
    assert _names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are open")
def test_a_folder_that_vanishes(tmp_path: Path, frames: list[Frame]) -> None:
    sink = open_sink(str(tmp_path / "gone" / "a.mp4"))
    sink.open()
    sink.write(frames[0])
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(SinkError, match=r"cannot write .*a.mp4: No such file"):
        sink.write(frames[1])
    with pytest.raises(SinkError, match=r"cannot finish .*a.mp4: not all of its 1 frames were stored"):
        sink.close()
    assert not sink.is_open


FULL_DISK = """
import resource, sys
from stainstream.api import open_sink, open_source
from stainstream.errors import SinkError
with open_source("demo?size=256x256&rate=0&frames=60") as source:
    sink = open_sink(sys.argv[1])
    sink.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    for frame in source:
        sink.write(frame)
    try:
        sink.close()
    except SinkError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_file_that_could_not_be_finished_is_not_passed_off_as_one(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert f"cannot finish {tmp_path / name}: " in done.stdout
    assert "not all of its 60 frames were stored; the disk may be full; what could be saved stands in" in done.stdout
    assert not (tmp_path / name).exists()


def test_closing_while_another_thread_writes_is_safe(tmp_path: Path, frames: list[Frame]) -> None:
    sink = open_sink(str(tmp_path / "a.avi"))
    sink.open()
    ended: list[str] = []

    def write() -> None:
        while True:
            try:
                sink.write(frames[0])
            except SinkError as error:
                ended.append(str(error))
                return

    writing = threading.Thread(target=write)
    writing.start()
    time.sleep(0.1)
    sink.close()
    writing.join(5)
    assert ended == [f"cannot write {tmp_path / 'a.avi'}: it is not open"]
    assert cv2.VideoCapture(str(tmp_path / "a.avi")).get(cv2.CAP_PROP_FRAME_COUNT) >= 1


def test_other_formats_are_refused(tmp_path: Path, frames: list[Frame]) -> None:
    with open_sink(str(tmp_path / "a.avi")) as sink, pytest.raises(SinkError, match="it is BGR8"):
        sink.write(Frame(frames[0].image, PixelFormat.BGR8))


@pytest.mark.parametrize("options", ["rate=0", "codec=long1", "reserve_mb=-1", "fps=3"])
def test_wrong_options_are_refused(options: str) -> None:
    with pytest.raises(UsageError, match=r"wrong settings in sink .*a.mp4"):
        open_sink(f"a.mp4?{options}")
