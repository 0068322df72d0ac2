"""A virtual camera. No loopback device can be made here: pyvirtualcam's own interface for backends stands in for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stainstream.api import open_sink
from stainstream.errors import MissingExtra, SinkError, UsageError
from stainstream.frame import Frame, PixelFormat

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="needs the extra: virtualcam")


class Screen:
    """A backend of pyvirtualcam that shows nothing and keeps what it was sent."""

    opened: list[tuple[int, int, float, str | None]] = []  # noqa: RUF012
    shown: list[NDArray[np.uint8]] = []  # noqa: RUF012
    broken = False

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any) -> None:
        assert fourcc == pyvirtualcam.camera.encode_fourcc(pyvirtualcam.PixelFormat.RGB.value)
        self.size = (height, width)
        self.opened.append((width, height, fps, device))

    def send(self, frame: NDArray[np.uint8]) -> None:
        if self.broken:
            raise RuntimeError("the device has gone")
        self.shown.append(frame.reshape(*self.size, 3).copy())

    def device(self) -> str:
        return "screen"

    def native_fourcc(self) -> None:
        return None

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> type[Screen]:
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {})
    pyvirtualcam.register_backend("screen", Screen)
    Screen.opened, Screen.shown, Screen.broken = [], [], False
    return Screen


def frame(height: int, width: int, seq: int = 0) -> Frame:
    rng = np.random.default_rng(seq)
    return Frame(rng.integers(0, 256, (height, width, 3), np.uint8), PixelFormat.RGB8, seq)


def test_frames_are_shown_as_they_are(screen: type[Screen]) -> None:
    frames = [frame(48, 64, seq) for seq in range(3)]
    with open_sink("virtualcam?rate=25") as sink:
        for each in frames:
            sink.write(each)
    assert screen.opened[-1] == (64, 48, 25.0, None)
    for each, shown in zip(frames, screen.shown, strict=True):
        np.testing.assert_array_equal(shown, each.image)


def test_odd_sizes_are_made_even_and_another_size_is_another_camera(screen: type[Screen]) -> None:
    with open_sink("virtualcam:screen") as sink:
        sink.write(frame(5, 7))
        sink.write(frame(6, 8))
        sink.write(frame(10, 8))
    assert [each[:2] for each in screen.opened[1:]] == [(8, 6), (8, 10)]
    assert screen.opened[-1][3] == "screen"
    np.testing.assert_array_equal(screen.shown[0][:5, :7], frame(5, 7).image)
    np.testing.assert_array_equal(screen.shown[0][5], screen.shown[0][4])


def test_a_device_that_goes_costs_frames_and_not_the_stream(screen: type[Screen]) -> None:
    with open_sink("virtualcam") as sink:
        sink.write(frame(4, 4))
        screen.broken = True
        with pytest.raises(SinkError, match="cannot show frame 1 on virtualcam: the device has gone"):
            sink.write(frame(4, 4, 1))
        screen.broken = False
        sink.write(frame(4, 4, 2))
    assert len(screen.shown) == 2
    with pytest.raises(SinkError, match="is not open"):
        sink.write(frame(4, 4))


def test_other_formats_are_refused(screen: type[Screen]) -> None:
    with open_sink("virtualcam") as sink, pytest.raises(SinkError, match="it is BGR8"):
        sink.write(Frame(np.zeros((4, 4, 3), np.uint8), PixelFormat.BGR8))


@pytest.mark.skipif(sys.platform != "linux" or any(Path("/dev").glob("video*")), reason="there may be a device")
@pytest.mark.parametrize("address", ["virtualcam", "virtualcam:/dev/video97"])
def test_without_a_device_the_cure_is_named(address: str) -> None:
    with pytest.raises(SinkError, match=rf"cannot open {address}: .*sudo modprobe v4l2loopback exclusive_caps=1"):
        open_sink(address).open()


def test_a_missing_library_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"run: pip install 'stainstream\[virtualcam\]'"):
        open_sink("virtualcam")


@pytest.mark.parametrize("options", ["rate=0", "fps=3"])
def test_wrong_options_are_refused(options: str) -> None:
    with pytest.raises(UsageError, match="wrong settings in sink"):
        open_sink(f"virtualcam?{options}")
