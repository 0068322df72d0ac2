"""Micro-Manager's own demo camera, which its test adapters bring."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from stainstream.api import open_source
from stainstream.capture.process import attached
from stainstream.color.convert import to_rgb8
from stainstream.errors import SourceError, UsageError
from stainstream.frame import PixelFormat
from stainstream.sources.micromanager import MicroManager

pytest.importorskip("pymmcore_plus")
adapters = pytest.importorskip("mm_test_adapters")
pymmcore = pytest.importorskip("pymmcore")
CFG = Path(adapters.device_adapter_path()) / "MMConfig_demo.cfg"


@pytest.fixture(autouse=True)
def _test_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Micro-Manager is installed beside them."""
    monkeypatch.setenv("MICROMANAGER_PATH", adapters.device_adapter_path())


def test_frames_of_the_demo_camera() -> None:
    with open_source(f"mm:Camera?cfg={CFG}&exposure=15&set=PixelType:32bitRGB") as source:
        frames = [frame for _, frame in zip(range(10), source, strict=False)]
        assert not source.rejected
    assert {frame.format for frame in frames} == {PixelFormat.BGRa8}
    assert frames[-1].seq == 9 + source.lost
    numbers = [frame.meta["device_frame"] for frame in frames]
    assert numbers == sorted(set(numbers))
    clock = [frame.meta["device_ns"] for frame in frames]
    assert clock == sorted(set(clock))
    assert frames[0].meta["exposure_ms"] == 15
    assert frames[0].meta["pixel_size_um"] == 1


@pytest.mark.parametrize(
    ("kind", "format"),
    [
        ("8bit", PixelFormat.Mono8),
        ("16bit", PixelFormat.Mono16),
        ("32bitRGB", PixelFormat.BGRa8),
        ("64bitRGB", PixelFormat.RGB16),
    ],
)
def test_pixels_are_those_of_micro_manager(kind: str, format: PixelFormat) -> None:
    """The test pattern stands still, so that it can be compared with a picture snapped by pymmcore-plus itself."""
    from pymmcore_plus import CMMCorePlus

    options = f"PixelType:{kind},Mode:Color Test Pattern" if "RGB" in kind else f"PixelType:{kind}"
    with open_source(f"mm:?frozen=0&set={options}") as source:
        frame = next(iter(source))
    assert frame.format is format
    if "RGB" in kind:
        core = CMMCorePlus()
        core.loadSystemConfiguration(str(CFG))
        core.setProperty("Camera", "PixelType", kind)
        core.setProperty("Camera", "Mode", "Color Test Pattern")
        core.snap()
        expected = core.getImage()
        core.unloadAllDevices()
        found = cv2.cvtColor(frame.image, cv2.COLOR_BGRA2RGB) if format is PixelFormat.BGRa8 else frame.image
        assert np.array_equal(found, expected)
        assert to_rgb8(frame.image, frame.format).shape == expected.shape


def test_a_still_picture_is_taken_for_a_frozen_camera() -> None:
    source = open_source("mm:?patience=2&set=PixelType:32bitRGB,Mode:Color Test Pattern")
    assert isinstance(source, MicroManager)
    with source, pytest.raises(SourceError, match=r"repeats one picture .*frozen=0"):
        list(source)
    assert source.reconnects["frozen"] >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not Windows'")
def test_a_killed_process_is_replaced() -> None:
    source = open_source("mm:Camera")
    assert isinstance(source, MicroManager)
    with source:
        frames = iter(source)
        next(frames)
        assert source._process is not None
        psutil.Process(source._process.pid).send_signal(signal.SIGKILL)
        while not source.reconnects["crashed"]:
            next(frames)
        assert next(frames).image.any()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("mm:Nope", "its configuration has no camera 'Nope'; it has Camera"),
        ("mm:?cfg=nothing.cfg", "cannot read nothing.cfg: there is no such file"),
        ("mm:?set=Foo:1", "Invalid property name encountered: Foo"),
    ],
)
def test_what_cannot_be_opened(address: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(address).open()


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.cfg").write_text("Device,Camera,NoSuchAdapter,DCam\n")
    with pytest.raises(SourceError, match="NoSuchAdapter"):
        open_source(f"mm:?cfg={tmp_path / 'bad.cfg'}").open()


def test_wrong_properties() -> None:
    with pytest.raises(UsageError, match="'Binning' stands twice or is not NAME:VALUE"):
        open_source("mm:?set=Binning")


def test_it_is_listed() -> None:
    found = attached({"micromanager": MicroManager.driver}, patience=20)["micromanager"]
    assert [each.address for each in found if not isinstance(each, str)] == [f"mm:Camera?cfg={CFG}"]
