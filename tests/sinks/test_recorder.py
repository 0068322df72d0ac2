"""A recorder that is started and stopped while frames run."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stainstream.api import open_sink
from stainstream.control import Recordable
from stainstream.errors import SinkError, UsageError
from stainstream.frame import Frame, PixelFormat
from stainstream.sinks.recorder import Recorder
from tests.recording.shots import lines, read

PERIOD_NS = 100_000_000


def frame(seq: int, size: int = 16, raw: bool = True) -> Frame:
    """A frame whose color is its number, ten a second; its raw pixels are the complement."""
    image = np.full((size, size, 3), seq, np.uint8)
    return Frame(image, PixelFormat.RGB8, seq, seq * PERIOD_NS, {}, 255 - image if raw else None)


@pytest.fixture
def recorder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    sink = open_sink(f"record:{tmp_path / 'a.ome.tiff'}?{request.param}")
    assert isinstance(sink, Recorder)
    with sink:
        yield sink


def seqs(path: Path) -> list[int]:
    """Which frames are in a recording, told by their color."""
    return [int(image[0, 0, 0]) for image in read(path)]


@pytest.mark.parametrize("recorder", ["start=0"], indirect=True)
def test_it_records_from_start_to_stop_into_a_new_file_each_time(recorder: Recorder, tmp_path: Path) -> None:
    assert isinstance(recorder, Recordable)
    number = 0
    for on in (False, True, True, False, True, False, False):
        recorder.record(on=on)
        assert recorder.recording is on
        for _ in range(3):
            recorder.write(frame(number := number + 1))
    assert [path.name for path in recorder.files] == ["a.ome.tiff", "a-2.ome.tiff"]
    assert seqs(tmp_path / "a.ome.tiff") == [4, 5, 6, 7, 8, 9]
    assert seqs(tmp_path / "a-2.ome.tiff") == [13, 14, 15]
    assert recorder.counts == {"recorded": 9}


@pytest.mark.parametrize("recorder", ["start=0"], indirect=True)
def test_no_frame_no_file(recorder: Recorder, tmp_path: Path) -> None:
    recorder.record(on=True)
    recorder.record(on=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recorder", ["preroll=0.5&start=0"], indirect=True)
def test_it_begins_with_what_was_before(recorder: Recorder, tmp_path: Path) -> None:
    for seq in range(20):
        recorder.write(frame(seq))
    recorder.record(on=True)
    for seq in range(20, 23):
        recorder.write(frame(seq))
    recorder.record(on=False)
    assert seqs(tmp_path / "a.ome.tiff") == list(range(14, 23))
    for seq in range(23, 25):
        recorder.write(frame(seq))
    recorder.record(on=True)
    recorder.record(on=False)  # stopped at once: what was before is recorded all the same
    assert seqs(tmp_path / "a-2.ome.tiff") == [23, 24]


@pytest.mark.parametrize("recorder", ["preroll=3600&preroll_mb=1&start=0"], indirect=True)
def test_what_was_before_takes_no_more_memory_than_allowed(recorder: Recorder, tmp_path: Path) -> None:
    size = 128
    fit = 1_000_000 // (size * size * 3)
    for seq in range(3 * fit):
        recorder.write(frame(seq, size))
        assert sum(shot.nbytes for shot in recorder._waiting) <= 1_000_000
    recorder.record(on=True)
    recorder.record(on=False)
    assert seqs(tmp_path / "a.ome.tiff") == list(range(2 * fit, 3 * fit))


@pytest.mark.parametrize(
    ("recorder", "names"),
    [
        ("what=normalized", ["a.ome.tiff"]),
        ("what=raw", ["a.ome.tiff"]),
        ("what=both", ["a.ome.tiff", "a.raw.ome.tiff"]),
    ],
    indirect=["recorder"],
)
def test_which_pixels(recorder: Recorder, names: list[str], tmp_path: Path) -> None:
    what = recorder.options.what
    assert recorder.wants_raw is (what != "normalized")
    recorder.write(frame(3, raw=False))  # it was on its way before raw pixels were asked for
    recorder.write(frame(4))
    recorder.close()
    expected = [4] if recorder.options.what != "normalized" else [3, 4]
    for name, raw in zip(names, (what == "raw", True), strict=False):
        assert seqs(tmp_path / name) == [255 - seq if raw else seq for seq in expected]
    assert not recorder.wants_raw


@pytest.mark.parametrize("recorder", ["start=1"], indirect=True)
def test_another_size_is_another_recording(recorder: Recorder, tmp_path: Path) -> None:
    for seq, size in enumerate((16, 16, 32, 16)):
        recorder.write(frame(seq, size))
    recorder.close()
    assert [seqs(path) for path in recorder.files] == [[0, 1], [2], [3]]


def test_it_can_be_started_again_after_a_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "new" / "a.ome.zarr"
    recorder = open_sink(f"record:{path}")
    assert isinstance(recorder, Recorder)
    with recorder:
        recorder.write(frame(0))
        shutil.rmtree(path)  # as if the disk had gone
        with caplog.at_level(logging.ERROR):
            for seq in (1, 2):
                recorder.write(frame(seq))
        assert f"recording stopped: cannot write {path}: No such file" in caplog.text
        assert not recorder.recording
        assert recorder.counts == {"recorded": 1, "not recorded": 2}
        recorder.record(on=True)
        recorder.write(frame(3))
    assert seqs(recorder.files[-1]) == [3]


def test_a_place_where_nothing_can_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sink = open_sink(f"record:{tmp_path}/file/a.ome.zarr")
    with pytest.raises(SinkError, match=r"cannot record to .*a.ome.zarr: "):
        sink.open()


@pytest.mark.parametrize("name", ["a.txt", "a", "a.tiff", "a.zarr", ".mp4"])
def test_an_unknown_kind_of_recording_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(UsageError, match=r"rec.mp4, rec.ome.tiff, rec.ome.zarr"),
        open_sink(f"record:{tmp_path / name}"),
    ):
        pass


def test_other_formats_are_refused(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with open_sink(f"record:{tmp_path / 'a.mp4'}") as sink, pytest.raises(SinkError, match="it is BGR8"):
        sink.write(Frame(image, PixelFormat.BGR8))


@pytest.mark.parametrize("recorder", ["start=0"], indirect=True)
def test_starting_and_stopping_while_another_thread_writes(recorder: Recorder) -> None:
    done = threading.Event()

    def write() -> None:
        seq = 0
        while not done.is_set():
            recorder.write(frame(seq := (seq + 1) % 250))

    writing = threading.Thread(target=write)
    writing.start()
    for index in range(20):
        recorder.record(on=index % 2 == 0)
    done.set()
    writing.join(5)
    recorder.close()
    counted = sum(len(lines(path.with_name(f"{path.name}.jsonl"))) for path in recorder.files)
    assert counted == recorder.counts.get("recorded", 0)
    for path in recorder.files:
        found = seqs(path)
        assert np.all(np.diff(found) % 250 == 1)  # no frame is missing within a recording
