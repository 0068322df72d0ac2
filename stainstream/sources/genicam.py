"""GigE Vision and USB3 Vision cameras of any make, through Aravis."""

from __future__ import annotations

import ctypes
import logging
import math
import re
from ctypes import byref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stainstream.capture.aravis import STATUS, AravisError, call
from stainstream.capture.driver import Driver, Shot, gap
from stainstream.capture.messages import Attached, Failure
from stainstream.errors import SourceError
from stainstream.frame import PixelFormat

from .camera import Camera, CameraOptions
from .features import chosen_format, features

__all__ = ["GenICam", "GenICamDriver"]

_log = logging.getLogger(__name__)

_WAIT_US = 100_000
_BUFFERS = 8  # that the camera may fill while none is taken
_CONTINUOUS = 0  # of ArvAcquisitionMode
_SEARCH_EVERY = 4  # attempts to reach a camera where it was, before it is searched for
_LAST_ID = 65535  # of GigE Vision 1, which counts on from 1; others never get there in years


class GenICam(Camera):
    """A GigE Vision or USB3 Vision camera: ``genicam:`` for the first one, ``genicam:SERIAL``, ``genicam:ADDRESS``.

    ``meta`` holds ``device_frame`` and ``device_ns``, the camera's own count and clock. Pictures that came damaged are
    counted by what is wrong with them (``missing packets``), those missing in the camera's count add to `lost`.
    """

    class Options(CameraOptions, frozen=True, kw_only=True):
        """What can be set."""

        format: str = ""
        """The pixel format, by its PFNC name; empty for the camera's own, or one with color."""
        set: str = ""
        """Further features, as ``NAME:VALUE,NAME:VALUE``, in this order; a command's value is ``execute``."""

    options: Options
    driver = "stainstream.sources.genicam:GenICamDriver"

    def __init__(self, target: str, options: Options) -> None:
        super().__init__(target, options)
        features(options.set)


class GenICamDriver(Driver):
    """Reads with Aravis."""

    Options = GenICam.Options
    options: GenICam.Options

    def __init__(self, target: str, options: GenICam.Options) -> None:
        super().__init__(target, options)
        self._wanted = re.sub(r"^genicam:", "", target, flags=re.IGNORECASE)
        self._camera = self._stream = self._buffer = None
        self._format = PixelFormat.Mono8
        self._number: int | None = None
        self._attempts = 0

    def open(self) -> str:
        self._attempts += 1
        lost = self._attempts % _SEARCH_EVERY == 0
        place = self.hint if self.hint and not lost else self._found()
        try:
            self._camera = call("arv_camera_new", place.encode())
            self._set_up()
            self._start()
        except AravisError as error:
            cure = "close other programs that use it, and check its plug, power and network"
            raise SourceError(f"cannot read {self.target}", str(error), cure) from error
        return place

    def read(self) -> Shot | Failure | None:
        if self._buffer is not None:
            call("arv_stream_push_buffer", self._stream, self._buffer)
        self._buffer = buffer = call("arv_stream_timeout_pop_buffer", self._stream, _WAIT_US)
        if buffer is None:
            return None
        number = call("arv_buffer_get_frame_id", buffer)
        lost, self._number = gap(self._number, number, _LAST_ID), number
        status = call("arv_buffer_get_status", buffer)
        if status:
            return Failure(STATUS.get(status, "damaged picture"))
        meta = {"device_frame": number, "device_ns": call("arv_buffer_get_timestamp", buffer)}
        return Shot(_image(buffer, self._format), self._format, lost, meta)

    def close(self) -> None:
        if self._camera is not None:
            try:
                call("arv_camera_stop_acquisition", self._camera)
            except AravisError as error:
                _log.debug("%s does not stop: %s", self.target, error)
        for held in (self._stream, self._camera):
            if held is not None:
                call("g_object_unref", held)
        self._camera = self._stream = self._buffer = None

    @staticmethod
    def attached() -> list[Attached]:
        call("arv_update_device_list")
        found = []
        for index in range(call("arv_get_n_devices")):
            vendor, model, serial = (_of(index, key) for key in ("vendor", "model", "serial_nbr"))
            found.append(
                Attached(f"genicam:{serial or _of(index, 'id')}", f"{vendor} {model} ({_of(index, 'protocol')})")
            )
        return found

    def _found(self) -> str:
        """Search for the camera; its network address, at which it is reached sooner the next time, or Aravis' id."""
        call("arv_update_device_list")
        count = call("arv_get_n_devices")
        for index in range(count):
            names = {_of(index, key) for key in ("id", "serial_nbr", "address")}
            if not self._wanted or self._wanted in names:
                return _of(index, "address" if _of(index, "protocol") == "GigEVision" else "id")
        others = ", ".join(_of(index, "id") for index in range(count))
        reason = f"Aravis finds only {others}" if others else "Aravis finds no camera"
        raise SourceError(f"cannot read {self.target}", reason, "check its plug, power and network")

    def _set_up(self) -> None:
        options, camera = self.options, self._camera
        current = call("arv_camera_get_pixel_format_as_string", camera).decode()
        name, self._format = chosen_format(self.target, _formats(camera), current, options.format)
        call("arv_camera_set_pixel_format_from_string", camera, name.encode())
        for what, value in (
            ("frame_rate", options.rate or None),
            ("exposure_time", options.exposure * 1000 or None),
            ("gain", options.gain),
        ):
            try:
                if value is not None:
                    call(f"arv_camera_set_{what}", camera, value)
            except AravisError as error:
                _log.warning("%s does not take %s = %g: %s", self.target, what, value, error)
        for feature, text in features(options.set).items():
            try:
                _set(call("arv_camera_get_device", camera), feature, text)
            except AravisError as error:
                raise SourceError(f"cannot set {feature} of {self.target} to {text}", str(error)) from error

    def _start(self) -> None:
        call("arv_camera_set_acquisition_mode", self._camera, _CONTINUOUS)
        self._stream = call("arv_camera_create_stream", self._camera, None, None)
        size = call("arv_camera_get_payload", self._camera)
        for _ in range(_BUFFERS):
            call("arv_stream_push_buffer", self._stream, call("arv_buffer_new_allocate", size))
        call("arv_camera_start_acquisition", self._camera)


def _of(index: int, key: str) -> str:
    """What the list of devices says about one of them."""
    return (call(f"arv_get_device_{key}", index) or b"").decode(errors="replace")


def _formats(camera: Any) -> list[str]:
    count = ctypes.c_uint()
    names = call("arv_camera_dup_available_pixel_formats_as_strings", camera, byref(count))
    try:
        return [name.decode() for name in ctypes.cast(names, ctypes.POINTER(ctypes.c_char_p))[: count.value] if name]
    finally:
        call("g_free", names)


def _set(device: Any, name: str, text: str) -> None:
    if text == "execute":
        call("arv_device_execute_command", device, name.encode())
    else:
        call("arv_device_set_features_from_string", device, f"{name}={text}".encode())


def _image(buffer: Any, kind: PixelFormat) -> NDArray[Any]:
    """The picture in Aravis' buffer, without a copy."""
    height, width = call("arv_buffer_get_image_height", buffer), call("arv_buffer_get_image_width", buffer)
    padding, size = ctypes.c_int(), ctypes.c_size_t()
    call("arv_buffer_get_image_padding", buffer, byref(padding), byref(ctypes.c_int()))
    row = math.prod(kind.shape(height, width)) // height * kind.dtype.itemsize
    data = call("arv_buffer_get_data", buffer, byref(size))
    raw = np.frombuffer(
        memoryview((ctypes.c_ubyte * size.value).from_address(data)), np.uint8, height * (row + padding.value)
    )
    rows = raw.reshape(height, row + padding.value)[:, :row]
    return rows.view(kind.dtype).reshape(kind.shape(height, width))
