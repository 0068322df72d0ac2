"""Cameras of a Micro-Manager configuration."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainstream.capture.driver import Driver, Shot, gap
from stainstream.capture.messages import Attached, Failure
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat

from .camera import Camera, CameraOptions
from .features import features

__all__ = ["MicroManager", "MicroManagerDriver"]

_log = logging.getLogger(__name__)

_WAIT_S = 0.1
_SHARE = 8  # of the time between two pictures, to sleep between looks: the core cannot be waited for
_NAPS_S = (0.0005, 0.01)
_WORDS = (8, 10, 12, 14, 16)


class MicroManager(Camera):
    """A camera of a Micro-Manager configuration: ``mm:LABEL?cfg=FILE``, or ``mm:`` for the one that is its default.

    The adapters are those of the newest Micro-Manager that pymmcore-plus finds (``mmcore list``), or of
    ``mm-test-adapters``; without ``cfg``, it is the demo configuration beside them. ``meta`` holds ``device_frame``
    (the camera's ImageNumber), ``device_ns`` (its ElapsedTime), ``exposure_ms`` and, where the configuration is
    calibrated, ``pixel_size_um``. ``rate`` is not Micro-Manager's to set: use ``exposure``, or a property.
    """

    class Options(CameraOptions, frozen=True, kw_only=True):
        """What can be set."""

        cfg: str = ""
        """The configuration file."""
        set: str = ""
        """Properties of the camera, as ``NAME:VALUE,NAME:VALUE``, in this order."""

    options: Options
    driver = "stainstream.sources.micromanager:MicroManagerDriver"

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        features(options.set)


class MicroManagerDriver(Driver):
    """Reads with ``pymmcore_plus``."""

    Options = MicroManager.Options
    options: MicroManager.Options

    def __init__(self, target: str, options: MicroManager.Options) -> None:
        super().__init__(target, options)
        self._label = re.sub(r"^mm:", "", target, flags=re.IGNORECASE)
        self._core: Any = None
        self._meta: dict[str, Any] = {}
        self._format = PixelFormat.Mono8
        self._number: int | None = None
        self._nap_s = _NAPS_S[0]
        self._last_s = 0.0

    def open(self) -> str:
        from pymmcore_plus import CMMCorePlus

        if self.options.cfg and not Path(self.options.cfg).is_file():
            raise SourceError(f"cannot read {self.options.cfg}", "there is no such file")
        self._core = core = CMMCorePlus()
        try:
            core.loadSystemConfiguration(self.options.cfg or "MMConfig_demo.cfg")
            self._choose(core)
            self._set_up(core)
            core.startContinuousSequenceAcquisition(0)
        except (RuntimeError, FileNotFoundError) as error:
            cure = "check it in Micro-Manager itself, which must be closed then"
            raise SourceError(f"cannot read {self.target}", _said(error), cure) from error
        return ""

    def read(self) -> Shot | Failure | None:
        end = time.monotonic() + _WAIT_S
        try:
            while not self._core.getRemainingImageCount():
                if not self._core.isSequenceRunning():
                    raise SourceError(f"lost {self.target}", "the camera stopped by itself", "check its plug and power")
                if time.monotonic() > end:
                    return None
                time.sleep(self._nap_s)
            image, tags = _popped(self._core)
        except RuntimeError as error:
            raise SourceError(f"lost {self.target}", _said(error), "check its plug and power") from error
        return self._shot(image, tags)

    def _shot(self, image: Any, tags: dict[str, str]) -> Shot:
        now = time.monotonic()
        self._nap_s = min(max((now - self._last_s) / _SHARE, _NAPS_S[0]), _NAPS_S[1])
        self._last_s = now
        meta, lost = dict(self._meta), 0
        if (number := tags.get("ImageNumber", "")).isdecimal():
            lost, self._number = gap(self._number, int(number)), int(number)
            meta["device_frame"] = self._number
        if elapsed := tags.get("ElapsedTime-ms"):
            meta["device_ns"] = round(float(elapsed) * 1e6)
        return Shot(_pixels(image, self._format), self._format, lost, meta)

    def close(self) -> None:
        if self._core is not None:
            try:
                self._core.stopSequenceAcquisition()
                self._core.unloadAllDevices()
            except RuntimeError as error:
                _log.debug("%s does not close: %s", self.target, _said(error))

    @staticmethod
    def attached() -> list[Attached]:
        """The cameras of the configuration files that lie beside Micro-Manager's adapters."""
        from pymmcore_plus import find_micromanager

        folder = find_micromanager()
        files = sorted(Path(folder).glob("*.cfg")) if folder else []
        found = [(label, file) for file in files for label in _default_camera(file)]
        return [Attached(f"mm:{label}?cfg={file}", f"{label} of {file.name}") for label, file in found]

    def _choose(self, core: Any) -> None:
        from pymmcore_plus import DeviceType

        cameras = list(core.getLoadedDevicesOfType(DeviceType.Camera))
        label = self._label or core.getCameraDevice()
        if label not in cameras:
            reason = f"its configuration has no camera {label!r}" if label else "its configuration names no camera"
            raise SourceError(f"cannot read {self.target}", reason, f"it has {', '.join(cameras) or 'none'}")
        core.setCameraDevice(label)

    def _set_up(self, core: Any) -> None:
        label, options = core.getCameraDevice(), self.options
        for name, value in features(options.set).items():
            core.setProperty(label, name, value)
        if options.exposure:
            core.setExposure(options.exposure)
        if options.gain is not None:
            if core.hasProperty(label, "Gain"):
                core.setProperty(label, "Gain", options.gain)
            else:
                _log.warning("%s has no property Gain", self.target)
        if options.rate:
            _log.warning("%s takes no rate: set exposure, or a property of the camera", self.target)
        self._format = _format(core)
        self._meta = {"exposure_ms": core.getExposure()}
        if size := core.getPixelSizeUm():
            self._meta["pixel_size_um"] = size


def _popped(core: Any) -> tuple[Any, dict[str, str]]:
    """The oldest picture that waits, as the core keeps it, and its tags."""
    from pymmcore import CMMCore, Metadata

    tags = Metadata()
    image = CMMCore.popNextImageMD(core, tags)
    return image, {key: tags.GetSingleTag(key).GetValue() for key in tags.GetKeys()}


def _format(core: Any) -> PixelFormat:
    if core.getNumberOfComponents() == 4:
        return PixelFormat.BGRa8 if core.getBytesPerPixel() == 4 else PixelFormat.RGB16
    bits = int(core.getImageBitDepth())
    return PixelFormat(f"Mono{next((known for known in _WORDS if bits <= known), 16)}")


def _pixels(image: Any, kind: PixelFormat) -> NDArray[Any]:
    """The picture as `kind` has it; the core packs the four parts of a color pixel, BGRA, into one word."""
    if kind.channels == 1:
        return np.asarray(image)
    parts = np.ascontiguousarray(image).view(kind.dtype).reshape(*image.shape, 4)
    return parts if kind is PixelFormat.BGRa8 else parts[..., 2::-1]


def _default_camera(file: Path) -> list[str]:
    found = re.search(r"^Property,Core,Camera,(.+?)\s*$", file.read_text(errors="replace"), re.MULTILINE)
    return [found[1]] if found else []


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
