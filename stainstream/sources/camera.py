"""Cameras that OpenCV can read: USB and V4L2 devices, network streams."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import msgspec
from numpy.typing import NDArray

from stainstream.config import Settings, redacted
from stainstream.errors import SourceError
from stainstream.frame import Frame, PixelFormat
from stainstream.opencv import quiet

from .base import Source
from .size import Size

__all__ = ["Attached", "Camera", "attached"]

_log = logging.getLogger(__name__)

_PATIENCE_S = 10.0  # without a picture, before a camera is given up
_FAILURES = 5  # failed reads in a row, before a camera is given up
_PAUSE_S = 0.1  # after a failed read
_OPEN_MS, _READ_MS = 5000, 5000  # what FFmpeg may take to reach a network camera, and to wait for its next picture
_PROBED = 4  # indices tried where the system has no list of cameras


class _Shot(NamedTuple):
    image: NDArray[Any]
    captured_ns: int


class Camera(Source):
    """A camera through OpenCV: ``camera0``, ``/dev/video0``, ``v4l2:/dev/v4l/by-id/NAME``, ``rtsp://...``, ``http://...``.

    Indices may change when the computer starts anew; the links in ``/dev/v4l/by-id`` do not. User names, passwords and
    queries of network addresses are kept out of `target`, messages and logs. An address with a query of its own needs
    an option of ours behind it: ``http://host/video?resolution=640x480?backend=auto``.

    Failed reads are counted as ``failed read``; after five in a row, or ten seconds without a picture, the camera is
    taken to be gone. ``size``, ``rate`` and ``fourcc`` are wishes: what the camera does not grant is logged.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        size: str = ""
        """WIDTHxHEIGHT, 720p, 1080p or 4K; empty for the camera's own."""
        rate: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
        """Frames a second; 0 for the camera's own."""
        fourcc: Annotated[str, msgspec.Meta(pattern="^(.{4})?$")] = ""
        """How the camera is to encode: ``MJPG`` allows larger sizes, but loses color; empty for its own choice."""
        backend: Literal["auto", "v4l2", "ffmpeg", "dshow", "msmf", "avfoundation", "gstreamer"] = "auto"
        """Which of OpenCV's readers to use."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(redacted(target), options)
        self._device = _device(target)
        self._size = Size.parse(options.size) if options.size else None
        self._reader: _Reader | None = None
        self._first: _Shot | None = None

    def _open(self) -> None:
        quiet()
        self._reader = _Reader(self._connected)
        self._reader.start()
        self._first = self._next(self._reader)
        if self._first is None:
            raise SourceError(f"cannot read {self.target}", *self._why())
        height, width = self._first.image.shape[:2]
        if self._size not in (None, Size(width, height)):
            _log.warning("%s gives frames of %dx%d instead of %s", self.target, width, height, self._size)

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.leave()
        self._reader = self._first = None

    def __iter__(self) -> Iterator[Frame]:
        reader, shot = self._reader, self._first
        if reader is None:
            raise SourceError(f"cannot read {self.target}", "it is not open")
        for seq in itertools.count():
            if shot is None:
                break
            kind = PixelFormat.BGR8 if shot.image.ndim == 3 else PixelFormat.Mono8
            yield Frame(shot.image, kind, seq, shot.captured_ns)
            shot = self._next(reader)
        if not self.stopping.is_set() and not reader.leaving.is_set():
            raise SourceError(f"lost {self.target}", "it gives no more pictures", "check its plug, power and network")

    def _next(self, reader: _Reader) -> _Shot | None:
        """The next picture; None if the camera is gone, or was stopped or closed."""
        failures, deadline = 0, time.monotonic() + _PATIENCE_S
        while failures < _FAILURES and time.monotonic() < deadline:
            if self.stopping.is_set() or reader.leaving.is_set():
                return None
            try:
                shot = reader.shots.get(timeout=0.1)
            except queue.Empty:
                continue
            if shot is not None:
                return shot
            failures += 1
            self.rejected["failed read"] += 1
        return None

    def _connected(self) -> cv2.VideoCapture:
        """The device with what was asked of it; one that could not be opened fails at its first read."""
        capture = cv2.VideoCapture(self._device, self._backend(), self._limits())
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for name, value in self._wishes().items():
            if capture.isOpened() and not capture.set(getattr(cv2, name), value):
                _log.warning("%s does not take %s = %g", self.target, name, value)
        return capture

    def _backend(self) -> int:
        if self.options.backend != "auto":
            return int(getattr(cv2, f"CAP_{self.options.backend.upper()}"))
        if _is_url(self._device):
            return cv2.CAP_FFMPEG
        return cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY

    def _limits(self) -> list[int]:
        if not _is_url(self._device):
            return []  # other backends refuse to open when they are given these
        return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]

    def _wishes(self) -> dict[str, float]:
        """OpenCV's properties to set, in the order that V4L2 needs."""
        wishes: dict[str, float] = {}
        if self.options.fourcc:
            wishes["CAP_PROP_FOURCC"] = cv2.VideoWriter.fourcc(*self.options.fourcc)
        if self._size is not None:
            wishes |= {"CAP_PROP_FRAME_WIDTH": self._size.width, "CAP_PROP_FRAME_HEIGHT": self._size.height}
        if self.options.rate:
            wishes["CAP_PROP_FPS"] = self.options.rate
        return wishes

    def _why(self) -> tuple[str, str]:
        """Reason and cure of a camera that gives no first picture."""
        if _is_url(self._device):
            return "it gives no picture", "check the address, the password, and that the camera is on"
        node = Path(f"/dev/video{self._device}" if isinstance(self._device, int) else self._device)
        if sys.platform == "linux" and not node.exists():
            return "there is no such device", "run: stainstream sources"
        if sys.platform == "linux" and not os.access(node, os.R_OK | os.W_OK):
            return "permission denied", "run: sudo usermod -aG video $USER, and log in again"
        return "it is busy, or no camera", "close other programs that use it, or run: stainstream sources"


class _Reader(threading.Thread):
    """Opens, reads and releases a device on one thread of its own, so that a read that hangs holds up nobody else.

    Parameters
    ----------
    connect
        Opens the device.
    """

    def __init__(self, connect: Callable[[], cv2.VideoCapture]) -> None:
        super().__init__(name="camera", daemon=True)
        self._connect = connect
        self.shots: queue.Queue[_Shot | None] = queue.Queue(maxsize=1)
        """Pictures; None for a read that failed."""
        self.leaving = threading.Event()

    def run(self) -> None:
        """Read until told to leave."""
        capture = self._connect()
        while not self.leaving.is_set():
            read, image = capture.read()
            self._offer(_Shot(image, time.monotonic_ns()) if read else None)
            if not read:
                self.leaving.wait(_PAUSE_S)
        capture.release()

    def leave(self) -> None:
        """Let go of the device; a read that hangs does so when it ends."""
        self.leaving.set()
        self.join(1.0)

    def _offer(self, shot: _Shot | None) -> None:
        while not self.leaving.is_set():
            try:
                self.shots.put(shot, timeout=0.1)
            except queue.Full:
                continue
            return


@dataclass(frozen=True, slots=True)
class Attached:
    """A camera that the system knows."""

    address: str
    """What to give as ``--source``."""
    name: str
    """What the camera calls itself."""
    stable: str = ""
    """An address that stays the same when cameras are plugged in anew; empty if there is none."""


def attached(root: Path = Path("/")) -> list[Attached]:
    """The cameras that are attached.

    On Linux they are listed from ``/sys`` without being opened; elsewhere the first four indices are tried, which may
    switch on a camera's light for a moment.

    Parameters
    ----------
    root
        Where ``sys`` and ``dev`` stand.
    """
    if sys.platform != "linux":
        return [Attached(f"camera{index}", f"camera {index}") for index in range(_PROBED) if _answers(index)]
    links = sorted((root / "dev/v4l/by-id").glob("*"))
    stable = {link.resolve().name: f"v4l2:/{link.relative_to(root)}" for link in links}
    nodes = sorted((root / "sys/class/video4linux").glob("video*"), key=lambda node: int(node.name[5:]))
    return [
        Attached(node.name.replace("video", "camera"), _text(node / "name"), stable.get(node.name, ""))
        for node in nodes
        if _text(node / "index") == "0"  # a camera's further nodes carry its metadata
    ]


def _text(path: Path) -> str:
    return path.read_text(errors="replace").strip()


def _answers(index: int) -> bool:
    quiet()
    capture = cv2.VideoCapture(index)
    try:
        return capture.isOpened()
    finally:
        capture.release()


def _device(target: str) -> int | str:
    """What OpenCV is to open."""
    if match := re.fullmatch(r"camera(\d+)", target, re.IGNORECASE):
        return int(match[1])
    return re.sub(r"^v4l2:", "", target, flags=re.IGNORECASE)


def _is_url(device: int | str) -> bool:
    return isinstance(device, str) and "://" in device
