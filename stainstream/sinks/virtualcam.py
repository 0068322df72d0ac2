"""A camera for other programs."""

from __future__ import annotations

import sys
import threading
from typing import Annotated

import msgspec
import pyvirtualcam

from stainstream.color.convert import even
from stainstream.config import Settings
from stainstream.errors import SinkError
from stainstream.frame import Frame, PixelFormat

from .base import Sink

__all__ = ["VirtualCamera"]

_PROBE = (640, 480)
_CURE = {
    "linux": "run: sudo apt install v4l2loopback-dkms && "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=stainstream",
    "darwin": "install OBS Studio, start its virtual camera once, and close it",
    "win32": "install OBS Studio, or Unity Capture",
}


class VirtualCamera(Sink):
    """A camera that meeting programs find beside real ones: ``virtualcam``, or ``virtualcam:DEVICE``.

    Each frame is shown as soon as it comes. An odd last row or column is doubled.
    """

    class Options(Settings, frozen=True, kw_only=True):
        """What can be set."""

        rate: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 30.0
        """Frames a second that the camera promises."""

    options: Options

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        self._device = target.partition(":")[2] or None
        self._camera: pyvirtualcam.Camera | None = None
        self._sending = threading.Lock()

    def _open(self) -> None:
        self._begun(_PROBE).close()  # tells at once that there is none

    def write(self, frame: Frame) -> None:
        """Show one frame."""
        if frame.format is not PixelFormat.RGB8:
            raise SinkError(f"cannot show frame {frame.seq}", f"it is {frame.format.value}, and sinks take RGB8")
        rgb = even(frame.image)
        size = (rgb.shape[1], rgb.shape[0])
        with self._sending:
            if not self.is_open:
                raise SinkError(f"cannot show frame {frame.seq}", f"{self.target} is not open")
            if self._camera is not None and (self._camera.width, self._camera.height) != size:
                self._camera.close()
                self._camera = None
            self._camera = self._camera or self._begun(size)
            try:
                self._camera.send(rgb)
            except (RuntimeError, OSError, ValueError) as error:
                raise SinkError(f"cannot show frame {frame.seq} on {self.target}", str(error)) from error

    def _begun(self, size: tuple[int, int]) -> pyvirtualcam.Camera:
        try:
            return pyvirtualcam.Camera(*size, self.options.rate, device=self._device)
        except (RuntimeError, OSError, ValueError) as error:
            raise SinkError(f"cannot open {self.target}", str(error), _CURE.get(sys.platform, "")) from error

    def _close(self) -> None:
        with self._sending:
            camera, self._camera = self._camera, None
            if camera is not None:
                camera.close()
