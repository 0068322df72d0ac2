"""Cameras that OpenCV can read: USB and V4L2 devices, network streams."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from numpy.typing import NDArray

from stainstream.capture.driver import Driver, Shot
from stainstream.capture.messages import Attached, Failure
from stainstream.config import redacted
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat

from .camera import Camera, CameraOptions
from .size import Size

__all__ = ["OpenCV", "OpenCVDriver"]

_log = logging.getLogger(__name__)

_FAILURES = 5  # failed reads in a row, before a camera is given up
_OPEN_MS, _READ_MS = 5000, 5000  # what FFmpeg may take to reach a network camera, and to wait for its next picture
_KNOCK_S = 0.5  # that a network camera may take to answer; FFmpeg would wait for seconds, and miss its return
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_PROBED = 4  # indices tried where the system has no list of cameras


class OpenCV(Camera):
    """A camera through OpenCV: ``camera0``, ``/dev/video0``, ``v4l2:/dev/v4l/by-id/NAME``, ``rtsp://...``, ``http://...``.

    Indices may change when the computer starts anew; the links in ``/dev/v4l/by-id`` do not. User names, passwords and
    queries of network addresses are kept out of `target`, messages and logs. An address with a query of its own needs
    an option of ours behind it: ``http://host/video?resolution=640x480?backend=auto``.

    Failed reads are counted as ``failed read``; after five in a row the camera is taken to be gone. ``size``, ``rate``,
    ``exposure``, ``gain`` and ``fourcc`` are wishes: what the camera does not grant is logged. ``meta`` holds
    ``device_ns`` where the camera's driver tells it.
    """

    class Options(CameraOptions, frozen=True, kw_only=True):
        """What can be set."""

        size: str = ""
        """WIDTHxHEIGHT, 720p, 1080p or 4K; empty for the camera's own."""
        fourcc: Annotated[str, msgspec.Meta(pattern="^(.{4})?$")] = ""
        """How the camera is to encode: ``MJPG`` allows larger sizes, but loses color; empty for its own choice."""
        backend: Literal["auto", "v4l2", "ffmpeg", "dshow", "msmf", "avfoundation", "gstreamer"] = "auto"
        """Which of OpenCV's readers to use."""

    options: Options
    driver = "stainstream.sources.opencv:OpenCVDriver"

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        if options.size:
            Size.parse(options.size)


class OpenCVDriver(Driver):
    """Reads with ``cv2.VideoCapture``."""

    Options = OpenCV.Options
    options: OpenCV.Options

    def __init__(self, target: str, options: OpenCV.Options) -> None:
        super().__init__(target, options)
        self._name = redacted(target)
        self._size = Size.parse(options.size) if options.size else None
        self._capture: Any = None
        self._first: NDArray[Any] | None = None
        self._shape: tuple[int, ...] = ()
        self._failures = 0

    def open(self) -> str:
        device = _device(self.hint or self.target)
        if _is_url(device):
            _knock(str(device), self._name)
        self._capture = self._connected(device)
        read, image = self._capture.read()
        if not read:
            raise SourceError(f"cannot read {self._name}", *_why(device))
        self._first, self._shape = image, image.shape
        height, width = image.shape[:2]
        if self._size not in (None, Size(width, height)):
            _log.warning("%s gives frames of %dx%d instead of %s", self._name, width, height, self._size)
        return _lasting(device)

    def read(self) -> Shot | Failure | None:
        image, self._first = self._first, None
        if image is None:
            target = None if self.room is None else self.room[: math.prod(self._shape)].reshape(self._shape)
            read, image = self._capture.read(target)
            if not read:
                return self._failure()
        self._failures, self._shape = 0, image.shape
        return Shot(image, PixelFormat.BGR8 if image.ndim == 3 else PixelFormat.Mono8, meta=self._meta())

    def _failure(self) -> Failure:
        self._failures += 1
        if self._failures >= _FAILURES:
            raise SourceError(f"lost {self._name}", "it gives no more pictures", "check its plug, power and network")
        return Failure("failed read")

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()

    @staticmethod
    def attached(root: Path = Path("/")) -> list[Attached]:
        """On Linux they are listed from ``/sys`` without being opened; elsewhere the first four indices are tried.

        That may switch on a camera's light for a moment.

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

    def _connected(self, device: int | str) -> Any:
        """The device with what was asked of it; one that could not be opened fails at its first read."""
        import cv2

        from stainstream.opencv import quiet

        quiet()
        capture = cv2.VideoCapture(device, self._backend(device), _limits(device))
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        for name, value in self._wishes(device).items():
            if capture.isOpened() and not capture.set(getattr(cv2, name), value):
                _log.warning("%s does not take %s = %g", self._name, name, value)
        return capture

    def _backend(self, device: int | str) -> int:
        import cv2

        if self.options.backend != "auto":
            return int(getattr(cv2, f"CAP_{self.options.backend.upper()}"))
        if _is_url(device):
            return cv2.CAP_FFMPEG
        return cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY

    def _wishes(self, device: int | str) -> dict[str, float]:
        """OpenCV's properties to set, in the order that V4L2 needs."""
        import cv2

        options = self.options
        wishes: dict[str, float] = {}
        if options.fourcc:
            wishes["CAP_PROP_FOURCC"] = cv2.VideoWriter.fourcc(*options.fourcc)
        if self._size is not None:
            wishes |= {"CAP_PROP_FRAME_WIDTH": self._size.width, "CAP_PROP_FRAME_HEIGHT": self._size.height}
        if options.rate:
            wishes["CAP_PROP_FPS"] = options.rate
        if options.exposure:
            wishes |= _exposure(options.exposure, linux=self._backend(device) == cv2.CAP_V4L2)
        if options.gain is not None:
            wishes["CAP_PROP_GAIN"] = options.gain
        return wishes

    def _meta(self) -> dict[str, Any]:
        import cv2

        time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return {"device_ns": round(time_ms * 1e6)} if time_ms > 0 else {}


def _exposure(time_ms: float, *, linux: bool) -> dict[str, float]:
    """The properties that set an exposure time, in the units of the system's drivers."""
    if linux:  # V4L2_EXPOSURE_MANUAL is 1; the time is in units of 0.1 ms
        return {"CAP_PROP_AUTO_EXPOSURE": 1, "CAP_PROP_EXPOSURE": max(1, round(time_ms * 10))}
    return {"CAP_PROP_AUTO_EXPOSURE": 0.25, "CAP_PROP_EXPOSURE": round(math.log2(time_ms / 1000))}


def _limits(device: int | str) -> list[int]:
    import cv2

    if not _is_url(device):
        return []  # other backends refuse to open when they are given these
    return [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]


def _knock(url: str, name: str) -> None:
    """Find out quickly whether a network camera is there at all.

    Raises
    ------
    SourceError
        If nobody answers, with the reason.
    """
    parts = urllib.parse.urlsplit(re.sub(r"(?<=://)[^/]*@", "", url))
    if parts.scheme.lower() in urllib.request.getproxies():
        return
    cure = "check the address, and that the camera is on"
    try:
        place = (parts.hostname or "", parts.port or _PORTS.get(parts.scheme.lower(), 80))
        socket.create_connection(place, _KNOCK_S).close()
    except TimeoutError as error:
        raise SourceError(f"cannot read {name}", f"nobody answers at port {place[1]}", cure) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no address"
        raise SourceError(f"cannot read {name}", reason.lower(), cure) from error


def _why(device: int | str) -> tuple[str, str]:
    """Reason and cure of a camera that gives no first picture."""
    if _is_url(device):
        return "it gives no picture", "check the address, the password, and that the camera is on"
    node = _node(device)
    if sys.platform == "linux" and not node.exists():
        return "there is no such device", "run: stainstream sources"
    if sys.platform == "linux" and not os.access(node, os.R_OK | os.W_OK):
        return "permission denied", "run: sudo usermod -aG video $USER, and log in again"
    return "it is busy, or no camera", "close other programs that use it, or run: stainstream sources"


def _lasting(device: int | str, root: Path = Path("/")) -> str:
    """The link to a V4L2 device that outlasts its being plugged in anew, under another number perhaps."""
    if sys.platform != "linux" or _is_url(device):
        return ""
    node = _node(device).resolve()
    links = sorted((root / "dev/v4l/by-id").glob("*"))
    return next((f"v4l2:{link}" for link in links if link.resolve() == node), "")


def _node(device: int | str) -> Path:
    return Path(f"/dev/video{device}" if isinstance(device, int) else device)


def _text(path: Path) -> str:
    return path.read_text(errors="replace").strip()


def _answers(index: int) -> bool:
    import cv2

    from stainstream.opencv import quiet

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
