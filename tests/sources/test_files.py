"""Images from files."""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stainstream.api import open_source
from stainstream.errors import SourceError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sources.files import find_images, natural


def _image(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, np.full((6, 8, 3), value, np.uint8))
    assert done
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A folder of tile1.png to tile12.png, of value 1 to 12, and things that are not images."""
    for number in random.Random(5).sample(range(1, 13), 12):
        _image(tmp_path / f"tile{number}.png", number)
    _image(tmp_path / "more" / "tile13.PNG", 13)
    _image(tmp_path / "._tile2.png", 99)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def _values(frames: list[Frame]) -> list[int]:
    return [int(frame.image.flat[0]) for frame in frames]


def _all(address: str) -> list[Frame]:
    with open_source(address) as source:
        return list(source)


def test_a_folder_in_natural_order(tiles: Path) -> None:
    frames = _all(str(tiles))
    assert _values(frames) == list(range(1, 13))
    assert [frame.seq for frame in frames] == list(range(12))
    assert [frame.meta["file"] for frame in frames] == [f"tile{n}.png" for n in range(1, 13)]
    times = [frame.captured_ns for frame in frames]
    assert times == sorted(times)
    assert abs(time.monotonic_ns() - times[-1]) < 1e9


def test_a_folder_and_its_folders(tiles: Path) -> None:
    assert sorted(_values(_all(f"{tiles}?recursive=1"))) == list(range(1, 14))


def test_a_pattern(tiles: Path) -> None:
    assert _values(_all(f"{tiles}/tile1*.png")) == [1, 10, 11, 12]
    assert _values(_all(f"{tiles}/tile?.png")) == list(range(1, 10))
    assert _values(_all(f"{tiles}/**/*[3].[pP]*")) == [13, 3]


def test_one_image(tiles: Path) -> None:
    (frame,) = _all(str(tiles / "tile7.png"))
    assert (frame.format, frame.seq, _values([frame])) == (PixelFormat.RGB8, 0, [7])


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    assert _values(_all(str(_image(tmp_path / "a[1].png", 5)))) == [5]


def test_again_and_again(tiles: Path) -> None:
    with open_source(f"{tiles}/tile[12].png?loop=1") as source:
        frames = [frame for _, frame in zip(range(7), source, strict=False)]
    assert _values(frames) == [1, 2, 1, 2, 1, 2, 1]
    assert [frame.seq for frame in frames] == list(range(7))


@pytest.mark.parametrize(("keep", "again"), [(256, 1), (0, 9)])
def test_a_loop_decodes_anew_only_what_it_could_not_keep(tmp_path: Path, keep: int, again: int) -> None:
    path = _image(tmp_path / "a.png", 1)
    values = []
    with open_source(f"{path}?loop=1&keep_mb={keep}") as source:
        for frame in source:
            values += _values([frame])
            _image(path, 9)
            if len(values) == 8:
                break
    assert (values[0], values[-1]) == (1, again)


def test_an_unreadable_file_is_counted_and_left_out(tiles: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tiles / "tile3.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    whole = (tiles / "tile5.png").read_bytes()
    (tiles / "tile5.png").write_bytes(whole[:-30])
    with caplog.at_level(logging.WARNING), open_source(f"{tiles}?loop=1&keep_mb=0") as source:
        frames = [frame for _, frame in zip(range(25), source, strict=False)]
        assert source.rejected == {"unreadable image": 2}
    assert _values(frames) == [1, 2, 4, *range(6, 13)] * 2 + [1, 2, 4, 6, 7]
    assert [frame.seq for frame in frames] == list(range(25))
    assert sum("tile3.png" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("loop", [0, 1])
def test_nothing_readable_is_an_error(tmp_path: Path, loop: int) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(b"nothing")
    with open_source(f"{tmp_path}?loop={loop}") as source:
        with pytest.raises(SourceError, match="no file of it could be read"):
            list(source)
        assert source.rejected == {"unreadable image": 3}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.png", "no such file or folder; run: stainstream sources"),
        ("*.jpg", "no file matches the pattern"),
        ("empty", r"holds no images \(.bmp, .*\); to look into its folders too, set recursive=1"),
        ("empty?recursive=1", "holds no images"),
        ("text.png", "it is not a PNG, JPEG, TIFF, BMP or WebP image"),
    ],
)
def test_nothing_to_open(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("text")
    source = open_source(f"{tmp_path}/{name}")
    with pytest.raises(SourceError, match=says) as error:
        source.open()
    assert "\n" not in str(error.value)
    assert not source.is_open


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown pixel format 'RGB9'"):
        open_source("tiles?format=RGB9")
    with pytest.raises(UsageError, match="known keys: rate, loop"):
        open_source("tiles?speed=9")


def test_samples_of_a_camera(tmp_path: Path) -> None:
    raw = np.arange(48, dtype=np.uint16).reshape(6, 8) << 4
    done, data = cv2.imencode(".tif", raw)
    assert done
    (tmp_path / "raw.tif").write_bytes(data.tobytes())
    (frame,) = _all(f"{tmp_path}/raw.tif?format=BayerGR12")
    assert frame.format is PixelFormat.BayerGR12
    np.testing.assert_array_equal(frame.image, raw)


def test_files_wait_and_cameras_do_not() -> None:
    assert [open_source(address).waits for address in ("tiles", "scan.mp4", "camera0")] == [True, True, False]


def test_not_open(tiles: Path) -> None:
    with pytest.raises(SourceError, match="not open"):
        next(iter(open_source(str(tiles))))


def test_keeps_a_rate(tiles: Path) -> None:
    times = [frame.captured_ns for frame in _all(f"{tiles}?rate=50")]
    assert times[-1] - times[0] >= 11 / 50 * 1e9


@pytest.mark.parametrize("options", ["rate=0.01", "loop=1"])
def test_stop_ends_it_at_once(tiles: Path, options: str) -> None:
    with open_source(f"{tiles}?{options}") as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.05, source.stop).start()
        began = time.monotonic()
        for _ in frames:
            pass
        assert time.monotonic() - began < 0.5


def test_leaving_early_leaves_no_threads(tiles: Path) -> None:
    before = threading.active_count()
    with open_source(str(tiles)) as source:
        for _ in source:
            break
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@given(st.lists(st.integers(0, 10**12), unique=True), st.randoms(use_true_random=False))
def test_natural_order_is_the_order_of_the_numbers(numbers: list[int], rng: random.Random) -> None:
    names = [Path(rng.choice(["tile", "TILE"]) + f"{number}_x2.png") for number in numbers]
    rng.shuffle(names)
    ordered = [path.name.casefold() for path in sorted(names, key=natural)]
    assert ordered == [f"tile{number}_x2.png" for number in sorted(numbers)]


@given(st.lists(st.text("a1.٣²/é ", min_size=1)))
def test_natural_order_compares_any_names(names: list[str]) -> None:
    assert len(sorted(map(Path, names), key=natural)) == len(names)


def test_folders_come_one_after_the_other(tmp_path: Path) -> None:
    for name in ("s2/1.png", "s10/0.png", "s2-b/0.png", "s2/10.png"):
        _image(tmp_path / name)
    found = find_images(str(tmp_path), recursive=True)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "s2/1.png",
        "s2/10.png",
        "s2-b/0.png",
        "s10/0.png",
    ]
