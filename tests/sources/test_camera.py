"""What every camera survives: drivers that hang, crash, repeat themselves, lose the device and find it again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stainstream.config import settings
from stainstream.errors import SourceError
from stainstream.frame import Frame
from stainstream.sinks.memory import Memory
from stainstream.stream.pipeline import Pipeline
from tests.capture.drivers import Scripted

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")


class Device:
    """A scripted camera and the switch that makes it fail."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set("play")

    def set(self, mode: str) -> None:
        other = self.file.with_suffix(".new")
        other.write_text(mode)
        other.replace(self.file)

    def source(self, **options: object) -> Scripted:
        return Scripted(str(self.file), settings(options, Scripted.Options, "test"))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "device")


class Watch:
    """Takes a source's frames on a thread of its own, and notes when."""

    def __init__(self, source: Scripted) -> None:
        self.source = source
        self.frames: list[tuple[float, Frame]] = []
        self.error: SourceError | None = None
        self._thread = threading.Thread(target=self._take)

    def _take(self) -> None:
        try:
            for frame in self.source:
                self.frames.append((time.monotonic(), Frame(frame.image.copy(), frame.format, frame.seq)))
        except SourceError as error:
            self.error = error

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        self._thread.join()

    def more(self, frames: int = 5, seconds: float = 20.0) -> None:
        """Wait for so many new frames."""
        wanted = len(self.frames) + frames
        until(lambda: len(self.frames) >= wanted, seconds)

    def silence(self) -> None:
        """Wait until no new frame came for a while."""
        until(lambda: time.monotonic() - self.frames[-1][0] > 0.3)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def process(source: Scripted) -> psutil.Process:
    assert source._process is not None
    return psutil.Process(source._process.pid)


@pytest.fixture
def watch(device: Device) -> Iterator[Watch]:
    """A running camera that is watched."""
    with device.source() as source, Watch(source) as watch:
        watch.more()
        yield watch


@pytest.mark.parametrize(
    ("mode", "cause", "says"),
    [
        ("hang", "stalled", "gives no pictures any more"),
        ("freeze", "frozen", "repeats one picture"),
        ("crash", "crashed", "the driver of .* crashed"),
        ("gone", "lost", "it is gone"),
        ("error", "lost", "ZeroDivisionError: of the vendor's making"),
        ("fail", "stalled", "gives no pictures"),
        ("grow", "lost", "its pictures became larger"),
    ],
)
def test_it_comes_back(
    device: Device, watch: Watch, mode: str, cause: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    device.set(mode)
    until(lambda: watch.source.reconnects[cause] > 0)
    device.set("play")
    watch.more()
    assert watch.error is None
    seqs = [frame.seq for _, frame in watch.frames]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == len(seqs) - 1 + watch.source.lost
    assert re.search(says, caplog.text)
    assert "is back after" in caplog.text


@posix
def test_a_killed_process_is_replaced_at_once(watch: Watch) -> None:
    for number in range(1, 4):
        old = process(watch.source)
        old.send_signal(signal.SIGKILL)
        watch.more()
        assert watch.source.reconnects["crashed"] == number
        assert not old.is_running()
    for _, frame in watch.frames:
        assert frame.image.shape == (64, 96, 3)


def test_a_driver_that_crashes_again_and_again_is_started_less_and_less_often(device: Device, watch: Watch) -> None:
    device.set("crash")
    began = time.monotonic()
    until(lambda: watch.source.reconnects["crashed"] == 4)
    assert time.monotonic() - began > 0.1 + 0.2
    assert watch.source._crash_pause_s >= 0.4
    device.set("play")
    watch.more()
    assert watch.source._crash_pause_s == 0


@posix
def test_a_process_that_is_stopped_is_taken_for_one_that_hangs(watch: Watch) -> None:
    process(watch.source).suspend()
    until(lambda: watch.source.reconnects["stalled"] == 1)
    watch.more()


def test_a_driver_that_hangs_while_opening_is_ended_too(device: Device) -> None:
    with device.source(open_timeout=1) as source, Watch(source) as watch:
        watch.more()
        device.set("hang-open")
        until(lambda: source.reconnects["stalled"] >= 2)
        device.set("play")
        watch.more()


def test_an_absent_camera_is_waited_for_in_one_process(device: Device) -> None:
    with device.source(stall=10) as source, Watch(source) as watch:
        watch.more()
        device.set("gone")
        until(lambda: source.reconnects["lost"] == 1)
        time.sleep(1.0)
        now = process(source)
        device.set("play")
        watch.more()
        assert process(source) == now
        assert source.reconnects == {"lost": 1}
        assert source._hint == "hint hint"  # what one process found out is told to the next


def test_a_camera_that_stays_frozen_is_opened_anew_less_and_less_often(device: Device) -> None:
    device.set("freeze")
    with device.source(stall=10) as source, Watch(source) as watch:
        until(lambda: source.reconnects["frozen"] == 2)
        delivered, rejected = len(watch.frames), source.rejected["frozen picture"]
        time.sleep(1.5)
        assert source.reconnects["frozen"] == 2
        assert source.rejected["frozen picture"] > rejected
        assert len(watch.frames) == delivered
        device.set("play")
        watch.more()
        assert source.reconnects["frozen"] == 2


def test_a_closed_lid_is_not_a_frozen_camera(device: Device) -> None:
    with device.source(stall=10) as source, Watch(source) as watch:
        watch.more()
        device.set("lid")
        watch.more(60)
        assert not source.reconnects
        assert not source.rejected


def test_repetition_can_be_allowed(device: Device) -> None:
    device.set("freeze")
    with device.source(stall=10, frozen=0) as source, Watch(source) as watch:
        watch.more(60)
        assert not source.reconnects


def test_a_slow_camera_is_not_a_silent_one(device: Device) -> None:
    with device.source(stall=1.2, period_s=0.6) as source, Watch(source) as watch:
        watch.more(4)
        assert not source.reconnects


def test_stalling_can_be_allowed(device: Device) -> None:
    with device.source(stall=0) as source, Watch(source) as watch:
        watch.more()
        device.set("hang")
        watch.silence()
        time.sleep(1.0)
        assert not source.reconnects


def test_what_the_driver_skips_is_lost_and_what_it_fails_is_rejected(device: Device, watch: Watch) -> None:
    device.set("fail")
    until(lambda: watch.source.rejected["damaged picture"] >= 2)
    device.set("skip")
    watch.more()
    assert watch.source.lost >= 9
    assert watch.source.lost % 3 == 0


def test_patience_ends(device: Device) -> None:
    with device.source(patience=1) as source, Watch(source) as watch:
        watch.more()
        device.set("gone")
        until(lambda: watch.error is not None)
        assert "lost" in str(watch.error)
        assert "it is gone" in str(watch.error)


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("gone", "it is gone; plug it in"),
        ("crash", "its driver crashed"),
        ("error", "ZeroDivisionError"),
        ("hang", "it gives no picture"),
        ("hang-open", "it gives no picture"),
    ],
)
def test_the_first_opening_fails_with_the_reason(device: Device, mode: str, says: str) -> None:
    device.set(mode)
    # Those that hang are waited for; the others may take their time on a busy machine.
    source = device.source(open_timeout=1 if mode.startswith("hang") else 20)
    before = time.monotonic()
    with pytest.raises(SourceError, match=says):
        source.open()
    assert time.monotonic() - before < 10
    assert not source.is_open
    assert not children()


def test_it_can_be_opened_again(device: Device) -> None:
    source = device.source()
    for _ in range(2):
        with source:
            assert next(iter(source)).seq == 0


def test_closing_ends_everything_also_while_it_hangs(device: Device) -> None:
    source = device.source(stall=0)
    source.open()
    frames = iter(source)
    next(frames)
    device.set("hang")
    time.sleep(0.1)
    before = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - before < 2
    assert len(list(frames)) == 0
    assert not children()
    assert "camera" not in {thread.name for thread in threading.enumerate()}


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "stainstream.capture" in " ".join(each.cmdline())]


def test_a_stream_outlives_its_camera(device: Device) -> None:
    """The pipeline runs on while the camera is away, and its account is right at the end."""
    source, sink = device.source(), Memory("memory", Memory.Options(keep=1))
    pipeline = Pipeline(source, None, {"memory": sink})
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    until(lambda: pipeline.report().delivered > 5)
    device.set("gone")
    until(lambda: source.reconnects["lost"] > 0)
    device.set("play")
    before = pipeline.report().delivered
    until(lambda: pipeline.report().delivered > before + 5)
    pipeline.stop()
    thread.join()
    assert pipeline.report().balanced
    assert pipeline.report().notes["camera lost"] == 1


def test_frames_are_in_the_rings_own_memory_and_the_takers_to_overwrite(device: Device) -> None:
    with device.source() as source:
        frame = next(iter(source))
        assert not frame.image.flags.owndata
        assert frame.image.flags.writeable
        assert frame.image.flags.c_contiguous
        frame.image[:] = 0


def test_who_keeps_many_frames_gets_copies(device: Device) -> None:
    with device.source(period_s=0.001) as source:
        frames = [frame for _, frame in zip(range(40), source, strict=False)]
    assert len({frame.image.tobytes() for frame in frames}) == 40


@posix
@pytest.mark.parametrize("mode", ["play", "hang"])
def test_a_killed_owner_leaves_nothing_behind(device: Device, mode: str, tmp_path: Path) -> None:
    device.set(mode if mode == "play" else "play")
    code = f"""
import sys
from tests.capture.drivers import Scripted
with Scripted({str(device.file)!r}, Scripted.Options(stall=0)) as source:
    for frame in source:
        print(source._process.pid, flush=True)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert owner.stdout is not None
    capture = psutil.Process(int(owner.stdout.readline()))
    device.set(mode)
    time.sleep(0.2)
    owner.kill()
    capture_ended = psutil.wait_procs([capture], timeout=10)[0]
    assert capture_ended
    errors = owner.communicate()[1]
    assert errors == b""


@posix
def test_ctrl_c_in_a_terminal(device: Device) -> None:
    """The whole foreground group gets the signal, as it does from a terminal."""
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from tests.capture.drivers import Scripted
try:
    with Scripted({str(device.file)!r}, Scripted.Options()) as source:
        for frame in source:
            print(source._process.pid, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert owner.stdout is not None
    capture = psutil.Process(int(owner.stdout.readline()))
    os.killpg(owner.pid, signal.SIGINT)
    output, errors = owner.communicate(timeout=60)
    assert output.endswith(b"interrupted\n")
    assert errors == b""
    assert not capture.is_running()
