"""Basler's own emulated cameras, with the failures that they can be told to have."""

from __future__ import annotations

import itertools
import signal
import sys

import psutil
import pytest

from stainstream.api import open_source
from stainstream.capture.process import attached
from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat
from stainstream.sources.basler import Basler

pylon = pytest.importorskip("pypylon.pylon")


@pytest.fixture(autouse=True)
def _two_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "2")


def test_frames() -> None:
    with open_source("basler:?rate=50&exposure=5&gain=2") as source:
        frames = [frame for _, frame in zip(range(10), source, strict=False)]
    assert [frame.seq for frame in frames] == [frame.meta["device_frame"] for frame in frames]
    assert frames[0].format.is_bayer  # it is set to gray, but has color
    assert len({frame.image.tobytes() for frame in frames}) == 10
    assert to_rgb8(frames[0].image, frames[0].format).shape == (1040, 1024, 3)


@pytest.mark.parametrize("name", ["Mono8", "Mono12", "RGB8", "BGR8", "BGRa8", "RGB16", "BayerRG8", "BayerGB12"])
def test_pixel_formats(name: str) -> None:
    with open_source(f"basler:?format={name}&set=Width:500,Height:300") as source:
        frame = next(iter(source))
    assert frame.format is PixelFormat(name)
    assert (frame.width, frame.height) == (500, 300)
    assert frame.image.any()


def test_one_of_two_by_its_serial_number() -> None:
    for number in ("0815-0000", "0815-0001"):
        source = open_source(f"basler:{number}")
        assert isinstance(source, Basler)
        with source:
            next(iter(source))
            assert source._hint == number


def test_failed_buffers_are_rejected_and_not_lost() -> None:
    force = "AcquisitionFrameRateEnable:1,AcquisitionFrameRateAbs:50,ForceFailedBufferCount:7,ForceFailedBuffer:execute"
    source = open_source(f"basler:?stall=10&set={force}")
    assert isinstance(source, Basler)
    with source:
        frames = [frame for _, frame in zip(range(5), source, strict=False)]
        assert source.rejected == {"the buffer was incompletely grabbed": 7}
        assert source.lost == 0
        assert not source.reconnects
    assert [frame.meta["device_frame"] for frame in frames] == [7, 8, 9, 10, 11]


def test_a_camera_whose_every_buffer_fails_is_opened_anew() -> None:
    """The failures that are asked for end with the process that asked, but the next one asks for them as well."""
    force = "AcquisitionFrameRateAbs:50,ForceFailedBufferCount:100,ForceFailedBuffer:execute"
    source = open_source(f"basler:?open_timeout=5&set={force}")
    with source:
        assert next(iter(source)).meta["device_frame"] == 100
    assert source.rejected == {"the buffer was incompletely grabbed": 100}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
def test_a_killed_process_is_replaced() -> None:
    source = open_source("basler:0815-0001?rate=50")
    assert isinstance(source, Basler)
    with source:
        frames = iter(source)
        for _ in range(3):
            assert source._process is not None
            psutil.Process(source._process.pid).send_signal(signal.SIGKILL)
            before = source.reconnects["crashed"]
            for frame in frames:
                assert frame.image.any()
                if source.reconnects["crashed"] > before:
                    break
        assert [frame.seq for frame in itertools.islice(frames, 3)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("basler:12345", "pylon finds only 0815-0000, 0815-0001"),
        ("basler:?format=Mono7", "cannot use the pixel format Mono7 of basler:: it offers Mono8"),
        ("basler:?set=Foo:1", "cannot set Foo of basler: to 1"),
        ("basler:?pfs=nothing.pfs", "there is no such file"),
    ],
)
def test_what_cannot_be_opened(address: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(address).open()


def test_without_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYLON_CAMEMU")
    with pytest.raises(SourceError, match="pylon finds"):
        open_source("basler:no-such-serial").open()


def test_they_are_listed() -> None:
    found = attached({"basler": Basler.driver}, patience=20)["basler"]
    assert {each.address for each in found if not isinstance(each, str)} >= {"basler:0815-0000", "basler:0815-0001"}
