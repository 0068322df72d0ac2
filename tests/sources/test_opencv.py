"""OpenCV's cameras: ones that are not there, and a live network camera served over HTTP."""

from __future__ import annotations

import base64
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from stainstream.api import open_source
from stainstream.capture.messages import Attached
from stainstream.config import redacted
from stainstream.errors import SourceError, UsageError
from stainstream.frame import PixelFormat
from stainstream.sources.barcode import read_barcode, write_barcode
from stainstream.sources.base import Source
from stainstream.sources.opencv import OpenCV, OpenCVDriver, _exposure, _lasting

linux = pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")


class NetworkCamera(ThreadingHTTPServer):
    """Serves numbered, noisy pictures as MJPEG over HTTP; user ``admin``, password ``se@cret``."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Stream)
        self.unplugged, self.stalled, self.frozen = threading.Event(), threading.Event(), threading.Event()
        self.number, self.random = 0, np.random.default_rng(0)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}/live"

    def part(self) -> bytes:
        if not self.frozen.is_set():
            self.number += 1
        image = np.random.default_rng(self.number).integers(60, 120, (96, 128, 3), np.uint8)
        write_barcode(image, self.number)
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        return b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)

    def off(self) -> None:
        self.unplugged.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Stream(BaseHTTPRequestHandler):
    server: NetworkCamera

    def do_GET(self) -> None:
        login = base64.b64encode(b"admin:se@cret").decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        while not self.server.unplugged.wait(0.01):
            try:
                if not self.server.stalled.is_set():
                    self.wfile.write(self.server.part())
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def camera() -> Iterator[NetworkCamera]:
    """A network camera that is on."""
    with NetworkCamera() as server:
        yield server
        server.off()


def test_live_pictures(camera: NetworkCamera) -> None:
    with open_source(f"http://admin:se%40cret@{camera.place}") as source:
        frames = [frame for _, frame in zip(range(20), source, strict=False)]
    assert [frame.seq for frame in frames] == sorted({frame.seq for frame in frames})
    assert frames[-1].seq == 19 + source.lost
    numbers = [read_barcode(frame.image) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert {(frame.format, frame.image.shape) for frame in frames} == {(PixelFormat.BGR8, (96, 128, 3))}
    times = [frame.captured_ns for frame in frames]
    assert times == sorted(set(times))
    assert abs(time.monotonic_ns() - times[-1]) < 2e9


def _numbers(source: Source, count: int) -> list[int]:
    return [read_barcode(frame.image) for _, frame in zip(range(count), source, strict=False)]


def test_one_that_vanishes_and_returns(
    camera: NetworkCamera, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(f"http://admin:se%40cret@{camera.place}") as source:
        _numbers(source, 5)
        camera.off()
        back: list[NetworkCamera] = []
        timer = threading.Timer(1.5, lambda: back.append(NetworkCamera(camera.server_port)))
        timer.start()
        assert len(_numbers(source, 30)) == 30
        timer.join()
        assert isinstance(source, OpenCV)
        assert source.reconnects["lost"] + source.reconnects["stalled"] >= 1
        back[0].off()
    assert "is back after" in caplog.text
    assert "cret" not in caplog.text
    assert capfd.readouterr().err == ""


def _repair(source: OpenCV, cause: str, fault: threading.Event) -> None:
    while not source.reconnects[cause]:
        time.sleep(0.01)
    fault.clear()


@pytest.mark.parametrize("cause", ["stalled", "frozen"])
def test_one_that_hangs_or_repeats_itself(camera: NetworkCamera, cause: str) -> None:
    with open_source(f"http://admin:se%40cret@{camera.place}") as source:
        assert isinstance(source, OpenCV)
        numbers = _numbers(source, 5)
        getattr(camera, cause).set()
        repair = threading.Thread(target=_repair, args=(source, cause, getattr(camera, cause)))
        repair.start()
        while not source.reconnects:
            numbers += _numbers(source, 1)
        numbers += _numbers(source, 10)
        repair.join()
        assert source.reconnects[cause] >= 1
    assert numbers == sorted(numbers)


@linux
def test_passwords_are_shown_by_no_list_of_processes(camera: NetworkCamera) -> None:
    with open_source(f"http://admin:se%40cret@{camera.place}"):
        for child in psutil.Process().children(recursive=True):
            assert "cret" not in " ".join(child.cmdline()) + str(child.environ())


def test_stop_ends_it_at_once_and_quietly(camera: NetworkCamera) -> None:
    with open_source(f"http://admin:se%40cret@{camera.place}") as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.05, source.stop).start()
        began = time.monotonic()
        for _ in frames:
            pass
        assert time.monotonic() - began < 0.5
    assert not source.rejected


def test_wishes_that_are_not_granted_are_logged(camera: NetworkCamera, caplog: pytest.LogCaptureFixture) -> None:
    address = f"http://admin:se%40cret@{camera.place}?size=720p&rate=30"
    with caplog.at_level(logging.WARNING), open_source(address) as source:
        frame = next(iter(source))
    assert frame.width == 128
    logged = "\n".join(caplog.messages)
    assert "gives frames of 128x96 instead of 1280x720" in logged
    assert "does not take CAP_PROP_FPS = 30" in logged
    assert "cret" not in logged


def test_a_wrong_password(camera: NetworkCamera, capfd: pytest.CaptureFixture[str]) -> None:
    source = open_source(f"http://admin:wrong@{camera.place}")
    with pytest.raises(SourceError, match=r"cannot read http://\*\*\*@.*: it gives no picture; check the address"):
        source.open()
    assert capfd.readouterr().err == ""
    assert not source.is_open


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nobody_there(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    source = open_source(f"{scheme}://admin:secret@127.0.0.1:1/live?token=secret?rate=5")
    with pytest.raises(SourceError, match="refused; check the address") as error:
        source.open()
    assert "secret" not in str(error.value) + source.target + capfd.readouterr().err


def test_one_that_accepts_and_says_nothing_can_be_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        source = open_source(f"http://127.0.0.1:{mute.getsockname()[1]}/")
        threading.Timer(0.2, source.stop).start()
        began = time.monotonic()
        with pytest.raises(SourceError, match="no picture"):
            source.open()
        assert time.monotonic() - began < 3


@linux
@pytest.mark.parametrize("address", ["camera97", "/dev/video97", "v4l2:/dev/v4l/by-id/none"])
def test_no_such_device(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    source = open_source(f"{address}?size=640x480&rate=30&fourcc=MJPG")
    with pytest.raises(SourceError, match=f"cannot read {address}: there is no such device; run: stainstream sources"):
        source.open()
    assert capfd.readouterr().err == ""
    assert not source.is_open


@linux
def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(SourceError, match="cannot read v4l2:/dev/null: it is busy, or no camera; close other programs"):
        open_source("v4l2:/dev/null").open()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("size=big", "wrong size"),
        ("fourcc=MJPEG", "fourcc"),
        ("backend=magic", "backend"),
        ("fps=3", "known keys: rate, exposure, gain"),
    ],
)
def test_wrong_options_are_refused(options: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_source(f"camera0?{options}")


def test_not_open() -> None:
    with pytest.raises(SourceError, match="not open"):
        next(iter(open_source("camera0")))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("camera0", "camera0"),
        ("v4l2:/dev/v4l/by-id/usb-a@b", "v4l2:/dev/v4l/by-id/usb-a@b"),
        ("rtsp://10.0.0.7/live", "rtsp://10.0.0.7/live"),
        ("rtsp://admin@10.0.0.7", "rtsp://***@10.0.0.7"),
        ("rtsp://admin:p@ss/word@10.0.0.7:554/a", "rtsp://***@10.0.0.7:554/a"),
        ("http://h/v?user=a&pwd=b", "http://h/v?***"),
        ("http://admin:pa?ss@h/v?pwd=b", "http://***@h/v?***"),
    ],
)
def test_redacted(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert redacted(shown) == shown


@linux
def test_attached_cameras_are_listed_without_being_opened(tmp_path: Path) -> None:
    for node, name, index in (
        ("video10", "Microscope\n", "0"),
        ("video2", "USB Camera\n", "0"),
        ("video3", "USB Camera\n", "1"),
    ):
        folder = tmp_path / "sys/class/video4linux" / node
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "index").write_text(index + "\n")
    links = tmp_path / "dev/v4l/by-id"
    links.mkdir(parents=True)
    (tmp_path / "dev/video2").touch()
    (links / "usb-ACME-video-index0").symlink_to("../../video2")
    assert OpenCVDriver.attached(tmp_path) == [
        Attached("camera2", "USB Camera", "v4l2:/dev/v4l/by-id/usb-ACME-video-index0"),
        Attached("camera10", "Microscope"),
    ]


@linux
def test_no_cameras(tmp_path: Path) -> None:
    assert OpenCVDriver.attached(tmp_path) == []


@linux
def test_a_camera_is_found_again_by_its_lasting_link(tmp_path: Path) -> None:
    links = tmp_path / "dev/v4l/by-id"
    links.mkdir(parents=True)
    (tmp_path / "dev/video2").touch()
    (links / "usb-ACME-video-index0").symlink_to("../../video2")
    assert _lasting(str(tmp_path / "dev/video2"), tmp_path) == f"v4l2:{links}/usb-ACME-video-index0"
    assert _lasting(str(tmp_path / "dev/video3"), tmp_path) == ""
    assert _lasting("http://camera/", tmp_path) == ""


@pytest.mark.parametrize(("time_ms", "linux", "value"), [(10, True, 100), (0.01, True, 1), (15.6, False, -6)])
def test_exposure_in_the_units_of_the_systems_drivers(time_ms: float, linux: bool, value: float) -> None:
    assert _exposure(time_ms, linux=linux)["CAP_PROP_EXPOSURE"] == value
