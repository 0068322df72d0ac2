"""Basler cameras, through pylon."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainstream.capture.driver import Driver, Shot, gap
from stainstream.capture.messages import Attached, Failure
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat

from .camera import Camera, CameraOptions
from .features import chosen_format, features

__all__ = ["Basler", "BaslerDriver"]

_log = logging.getLogger(__name__)

_WAIT_MS = 100
_BUFFERS = 8  # that pylon may fill while none is taken
_LAST_BLOCK = 65535  # of GigE Vision 1, which counts on from 1; USB cameras never get there in years


class Basler(Camera):
    """A Basler camera: ``basler:`` for the first one, ``basler:SERIAL`` or ``basler:NAME`` (its user-defined name).

    ``meta`` holds ``device_frame`` (pylon's block ID) and, where the camera tells it, ``device_ns``. Pictures that came
    damaged are counted by pylon's own words, those that are missing in the camera's count or were skipped by pylon add
    to `lost`. With ``PYLON_CAMEMU=N`` in the environment, pylon emulates N cameras.
    """

    class Options(CameraOptions, frozen=True, kw_only=True):
        """What can be set."""

        format: str = ""
        """The pixel format, by its PFNC name; empty for the camera's own, or one with color."""
        set: str = ""
        """Further features, as ``NAME:VALUE,NAME:VALUE``, in this order; a command's value is ``execute``."""
        pfs: str = ""
        """A file of features, saved by pylon Viewer."""

    options: Options
    driver = "stainstream.sources.basler:BaslerDriver"

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        features(options.set)


class BaslerDriver(Driver):
    """Reads with ``pypylon``."""

    Options = Basler.Options
    options: Basler.Options

    def __init__(self, target: str, options: Basler.Options) -> None:
        super().__init__(target, options)
        self._wanted = re.sub(r"^basler:", "", target, flags=re.IGNORECASE)
        self._camera: Any = None
        self._result: Any = None  # held while its picture is in use: with the last reference pylon gets its buffer back
        self._format = PixelFormat.Mono8
        self._block: int | None = None
        self._tick_ns = 1.0

    def open(self) -> str:
        from pypylon import genicam, pylon

        factory = pylon.TlFactory.GetInstance()
        try:
            info = self._chosen(factory.EnumerateDevices())
            self._camera = camera = pylon.InstantCamera(factory.CreateDevice(info))
            camera.Open()
            camera.MaxNumBuffer.Value = _BUFFERS
            self._set_up(camera)
            camera.StartGrabbing(pylon.GrabStrategy_OneByOne)
        except genicam.GenericException as error:
            raise SourceError(f"cannot read {self.target}", _said(error), "close other programs that use it") from error
        return str(info.GetSerialNumber())

    def read(self) -> Shot | Failure | None:
        from pypylon import genicam, pylon

        try:
            self._result = result = self._camera.RetrieveResult(_WAIT_MS, pylon.TimeoutHandling_Return)
            if result.IsValid():
                return self._read(result)
            removed = self._camera.IsCameraDeviceRemoved()
        except genicam.GenericException as error:
            raise SourceError(f"lost {self.target}", _said(error), "check its plug, power and network") from error
        if removed:
            raise SourceError(f"lost {self.target}", "it was unplugged", "check its plug, power and network")
        return None

    def _read(self, result: Any) -> Shot | Failure:
        block = int(result.BlockID)
        lost, self._block = gap(self._block, block, _LAST_BLOCK) + int(result.NumberOfSkippedImages), block
        if not result.GrabSucceeded():
            return Failure(str(result.ErrorDescription).rstrip(".").lower() or "damaged picture")
        meta: dict[str, Any] = {"device_frame": block}
        if result.TimeStamp:
            meta["device_ns"] = round(result.TimeStamp * self._tick_ns)
        image = _image(result, self._format)
        return Shot(image, self._format, lost, meta)

    def close(self) -> None:
        from pypylon import genicam

        if self._camera is not None:
            try:
                self._camera.Close()
            except genicam.GenericException as error:
                _log.debug("%s does not close: %s", self.target, _said(error))

    @staticmethod
    def attached() -> list[Attached]:
        from pypylon import pylon

        return [
            Attached(f"basler:{device.GetSerialNumber()}", device.GetFriendlyName())
            for device in pylon.TlFactory.GetInstance().EnumerateDevices()
        ]

    def _chosen(self, devices: Any) -> Any:
        wanted = self.hint or self._wanted
        for device in devices:
            if wanted in ("", device.GetSerialNumber(), device.GetUserDefinedName()):
                return device
        names = ", ".join(device.GetSerialNumber() for device in devices)
        reason = f"pylon finds only {names}" if names else "pylon finds no camera"
        raise SourceError(f"cannot read {self.target}", reason, "check its plug, power and network")

    def _set_up(self, camera: Any) -> None:
        from pypylon import genicam, pylon

        options = self.options
        if options.pfs:
            if not Path(options.pfs).is_file():
                raise SourceError(f"cannot read {options.pfs}", "there is no such file")
            pylon.FeaturePersistence.Load(options.pfs, camera.GetNodeMap(), True)
        formats = camera.PixelFormat.Symbolics
        name, self._format = chosen_format(self.target, formats, camera.PixelFormat.Value, options.format)
        wishes = {"PixelFormat": name}
        if options.exposure:
            wishes |= {"ExposureAuto": "Off", "ExposureTime": f"{options.exposure * 1000:g}"}
        if options.gain is not None:
            wishes |= {"GainAuto": "Off", "Gain": f"{options.gain:g}"}
        if options.rate:
            wishes |= {"AcquisitionFrameRateEnable": "1", "AcquisitionFrameRate": f"{options.rate:g}"}
        for feature, value in {**wishes, **features(options.set)}.items():
            try:
                _set(camera, feature, value)
            except genicam.GenericException as error:
                if feature in features(options.set):
                    raise SourceError(f"cannot set {feature} of {self.target} to {value}", _said(error)) from error
                _log.warning("%s does not take %s = %s: %s", self.target, feature, value, _said(error))
        try:
            self._tick_ns = 1e9 / camera.GetNodeMap().GetNode("GevTimestampTickFrequency").Value
        except genicam.GenericException:
            self._tick_ns = 1.0  # others than older GigE cameras count nanoseconds


def _set(camera: Any, name: str, text: str) -> None:
    from pypylon import pylon

    parameter = camera.GetNodeMap().GetNode(name)
    if isinstance(parameter, pylon.CommandParameter):
        parameter.Execute()
    else:
        parameter.FromString(text)


def _said(error: Exception) -> str:
    """What a library says, without where in its source it says so."""
    return re.split(r" : \w+ thrown| \(file ", str(error))[0].rstrip(". ") or type(error).__name__


def _image(result: Any, kind: PixelFormat) -> NDArray[Any]:
    """The picture in pylon's buffer, without a copy."""
    height, width = result.Height, result.Width
    row = width * kind.channels * kind.dtype.itemsize
    data = np.frombuffer(result.GetImageMemoryView(), np.uint8, height * (row + result.PaddingX))
    rows = data.reshape(height, row + result.PaddingX)[:, :row]
    return rows.view(kind.dtype).reshape(kind.shape(height, width))
