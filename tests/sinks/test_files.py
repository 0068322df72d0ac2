"""A folder of images."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stainstream.api import open_sink
from stainstream.errors import SinkError, UsageError
from stainstream.frame import RGB8, Frame, PixelFormat


def _picture(seq: int = 0, height: int = 40, width: int = 50) -> RGB8:
    ramp = np.arange(height * width * 3).reshape(height, width, 3) // 40
    picture: RGB8 = (ramp + np.array([200, 0, seq])).clip(0, 255).astype(np.uint8)
    return picture


def _frame(seq: int = 0, **meta: Any) -> Frame:
    return Frame(_picture(seq), PixelFormat.RGB8, seq, meta=meta)


def _write(address: str, *frames: Frame) -> None:
    with open_sink(address) as sink:
        for frame in frames:
            sink.write(frame)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "suffix", "error"),
    [
        ("", "png", 0),
        ("?suffix=png&compression=9", "png", 0),
        ("?suffix=tif", "tif", 0),
        ("?suffix=bmp", "bmp", 0),
        ("?suffix=jpg", "jpg", 6),
        ("?suffix=webp&quality=100", "webp", 12),
    ],
)
def test_another_library_reads_the_same_pixels(tmp_path: Path, options: str, suffix: str, error: int) -> None:
    _write(f"{tmp_path}/new/folder{options}", _frame(0), _frame(41))
    assert _names(tmp_path / "new" / "folder") == [f"frame_000000000.{suffix}", f"frame_000000041.{suffix}"]
    for seq in (0, 41):
        read = np.asarray(Image.open(tmp_path / "new" / "folder" / f"frame_{seq:09d}.{suffix}").convert("RGB"))
        assert np.abs(read.astype(int) - _picture(seq)).max() <= error


def test_quality(tmp_path: Path) -> None:
    _write(f"{tmp_path}?suffix=jpg&quality=10", _frame(1))
    _write(f"{tmp_path}?suffix=jpg&quality=99", _frame(2))
    small, large = ((tmp_path / name).stat().st_size for name in _names(tmp_path))
    assert small < large


def test_views_are_written_as_they_look(tmp_path: Path) -> None:
    view = _picture()[::-2, 3::3]
    _write(str(tmp_path), Frame(view, PixelFormat.RGB8))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frame_000000000.png")), view)


def test_named_after_the_file_that_it_came_from(tmp_path: Path) -> None:
    _write(str(tmp_path), _frame(3, file="tile 7.tif"), _frame(4, file="größe.v2.JPG"), _frame(5, file=7))
    assert _names(tmp_path) == ["frame_000000005.png", "größe.v2.png", "tile 7.png"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("the original")
    for _ in range(2):
        _write(str(tmp_path), _frame(7, file="a.png"), _frame(8, file="a.jpg"), _frame(9))
    assert (tmp_path / "a.png").read_text() == "the original"
    assert _names(tmp_path) == sorted(
        ["a.png", "a_7.png", "a_8.png", "a_7_2.png", "a_8_2.png", "frame_000000009.png", "frame_000000009_9.png"]
    )


HOSTILE = [
    "../../up.png",
    "/etc/passwd",
    "C:\\x\\y.png",
    "a/b\\c.png",
    "..",
    "",
    ".hidden",
    "x\0y.png",
    "a\nb",
    "z" * 999,
    "CON",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_from_a_feed_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    _write(str(inside), _frame(file=name))
    assert _names(tmp_path) == ["inside"]
    (written,) = inside.iterdir()
    assert written.suffix == ".png"
    assert not written.name.startswith(".")


@settings(max_examples=100, deadline=None)
@given(name=st.text())
def test_any_name_will_do(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    _write(str(folder), _frame(file=name))
    (written,) = folder.iterdir()
    with Image.open(written) as image:
        assert image.size == (50, 40)
    shutil.rmtree(folder)


def test_no_half_written_file_is_ever_seen(tmp_path: Path) -> None:
    seen, over = 0, threading.Event()
    large = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)

    def write() -> None:
        _write(str(tmp_path), *(Frame(large, PixelFormat.RGB8, seq) for seq in range(60)))
        over.set()

    writing = threading.Thread(target=write)
    writing.start()
    while not over.is_set():
        for path in tmp_path.glob("frame_*.png"):
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
            seen += 1
    writing.join()
    assert seen > 60
    assert len(_names(tmp_path)) == 60


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "below", tmp_path / "file"):
        sink = open_sink(str(target))
        with pytest.raises(SinkError, match=f"cannot write into {target}: ") as error:
            sink.open()
        assert "\n" not in str(error.value)
        assert not sink.is_open


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with open_sink(str(folder)) as sink:
        sink.write(_frame(1))
        shutil.rmtree(folder)
        with pytest.raises(SinkError, match=r"cannot write .*frame_000000002.png: No such file"):
            sink.write(_frame(2))


FULL_DISK = """
import resource, sys, numpy as np
from stainstream.api import open_sink
from stainstream.errors import SinkError
from stainstream.frame import Frame, PixelFormat
noise = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
with open_sink(sys.argv[1]) as sink:
    sink.write(Frame(noise, PixelFormat.RGB8, 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))
    try:
        sink.write(Frame(noise, PixelFormat.RGB8, 2))
    except SinkError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == f"cannot write {tmp_path / 'frame_000000002.png'}: File too large"
    assert _names(tmp_path) == ["frame_000000001.png"]


def test_an_image_that_the_format_cannot_hold(tmp_path: Path) -> None:
    wide = Frame(np.zeros((1, 70_000, 3), np.uint8), PixelFormat.RGB8, 3)
    with open_sink(f"{tmp_path}?suffix=webp") as sink, pytest.raises(SinkError, match=r"frame 3 \(70000x1\) as webp"):
        sink.write(wide)
    assert _names(tmp_path) == []


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with open_sink(str(tmp_path)) as sink, pytest.raises(SinkError, match="it is BGR8, and sinks take RGB8"):
        sink.write(Frame(_picture(), PixelFormat.BGR8))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("out.png", "cannot write to out.png: frames go to a folder"),
        ("out?suffix=gif", "suffix"),
        ("out?quality=0", "quality"),
        ("out?compression=10", "compression"),
        ("out?depth=1", "known keys: suffix, quality, compression"),
    ],
)
def test_wrong_addresses_are_refused(address: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_sink(address)
