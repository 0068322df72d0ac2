"""Aravis' fake GigE Vision camera, over the loopback network."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from stainstream.api import open_source
from stainstream.capture import aravis
from stainstream.capture.process import attached
from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat
from stainstream.sources.genicam import GenICam

try:
    aravis.library()
except SourceError as absent:
    pytest.skip(str(absent), allow_module_level=True)

SERIAL = f"T{os.getpid()}"
ADDRESS = f"genicam:{SERIAL}"


class Fake:
    """The camera, which can be switched off and on."""

    def __init__(self) -> None:
        self.on()

    def on(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sources.fakegige", SERIAL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"1\n":
            self.off()
            pytest.skip("the port of GigE Vision cameras is in use")

    def off(self) -> None:
        self._process.kill()
        self._process.communicate()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)


@pytest.fixture(scope="module")
def fake() -> Iterator[Fake]:
    camera = Fake()
    yield camera
    camera.off()


def source(options: str = "") -> GenICam:
    made = open_source(f"{ADDRESS}{options}")
    assert isinstance(made, GenICam)
    return made


def test_frames(fake: Fake) -> None:
    with source("?rate=40&exposure=5") as camera:
        frames = [frame for _, frame in zip(range(10), camera, strict=False)]
        assert camera._hint == "127.0.0.1"
    assert frames[0].format.is_bayer
    assert frames[0].meta["device_frame"] > 0
    clock = [frame.meta["device_ns"] for frame in frames]
    assert clock == sorted(set(clock))
    assert frames[-1].seq == 9 + camera.lost
    assert to_rgb8(frames[0].image, frames[0].format).shape == (512, 512, 3)


@pytest.mark.parametrize("name", ["Mono8", "Mono16", "RGB8", "BayerGB8"])
def test_pixel_formats(fake: Fake, name: str) -> None:
    with source(f"?format={name}&set=Width:300,Height:200") as camera:
        frame = next(iter(camera))
    assert frame.format is PixelFormat(name)
    assert (frame.width, frame.height) == (300, 200)
    assert frame.image.any()


def test_a_camera_that_is_switched_off_and_on(fake: Fake) -> None:
    with source() as camera:
        frames = iter(camera)
        list(itertools.islice(frames, 5))
        fake.off()
        timer = threading.Timer(1.5, fake.on)
        timer.start()
        before = time.monotonic_ns()
        frame = next(frame for frame in frames if camera.reconnects)
        timer.join()
        assert frame.captured_ns - before > 1.5e9
        assert camera.reconnects["stalled"] >= 1
        assert len(list(itertools.islice(frames, 5))) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
def test_a_camera_that_hangs(fake: Fake) -> None:
    with source() as camera:
        frames = iter(camera)
        list(itertools.islice(frames, 5))
        fake.signal(signal.SIGSTOP)
        timer = threading.Timer(1.0, fake.signal, (signal.SIGCONT,))
        timer.start()
        assert next(frame for frame in frames if camera.reconnects).image.any()
        timer.join()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
def test_a_killed_process_is_replaced(fake: Fake) -> None:
    """The camera itself refuses others until it has missed its owner for three seconds."""
    with source() as camera:
        frames = iter(camera)
        next(frames)
        assert camera._process is not None
        psutil.Process(camera._process.pid).send_signal(signal.SIGKILL)
        assert next(frame for frame in frames if camera.reconnects["crashed"]).image.any()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("genicam:nobody", f"Aravis finds only .*{SERIAL}"),
        (f"{ADDRESS}?format=Mono7", "cannot use the pixel format Mono7"),
        (f"{ADDRESS}?set=Foo:1", "cannot set Foo of .* to 1"),
    ],
    ids=["address", "format", "feature"],
)
def test_what_cannot_be_opened(fake: Fake, address: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(address).open()


def test_it_is_listed(fake: Fake) -> None:
    found = attached({"genicam": GenICam.driver}, patience=20)["genicam"]
    assert f"genicam:{SERIAL}" in {each.address for each in found if not isinstance(each, str)}


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis, "_NAME", "libnothing.so.0")
    aravis.library.cache_clear()
    try:
        with pytest.raises(SourceError, match=r"Aravis 0\.8 is missing; run: sudo apt install libaravis-0\.8-0"):
            aravis.library()
    finally:
        monkeypatch.undo()
        aravis.library.cache_clear()
