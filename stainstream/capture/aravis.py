"""The few functions of the Aravis library that read a GenICam camera.

Its official binding for Python, PyGObject, has to be compiled in most virtual environments; these plain C functions
need only the library, of any version 0.8.

Source: https://aravisproject.github.io/aravis/aravis-stable/
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from stainstream.errors import SourceError

__all__ = ["STATUS", "AravisError", "call", "library"]

STATUS = {
    0: "success",
    1: "cleared",
    2: "timeout",
    3: "missing packets",
    4: "wrong packet id",
    5: "size mismatch",
    6: "still filling",
    7: "aborted",
    8: "payload not supported",
}
"""Words for the values of ArvBufferStatus."""

_NAMES = {"win32": "libaravis-0.8-0.dll", "darwin": "libaravis-0.8.dylib"}
_NAME = _NAMES.get(sys.platform, "libaravis-0.8.so.0")
_FOLDERS = ("lib", "Library/bin")  # of a conda environment
_CURE = (
    "run: sudo apt install libaravis-0.8-0 (Debian, Ubuntu), brew install aravis (macOS), "
    "or conda install -c conda-forge aravis"
)

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_update_device_list": (None, ()),
    "arv_get_n_devices": (c_uint, ()),
    "arv_get_device_id": (c_char_p, (c_uint,)),
    "arv_get_device_vendor": (c_char_p, (c_uint,)),
    "arv_get_device_model": (c_char_p, (c_uint,)),
    "arv_get_device_serial_nbr": (c_char_p, (c_uint,)),
    "arv_get_device_address": (c_char_p, (c_uint,)),
    "arv_get_device_protocol": (c_char_p, (c_uint,)),
    "arv_camera_get_device": (c_void_p, (c_void_p,)),
    "arv_buffer_new_allocate": (c_void_p, (c_size_t,)),
    "arv_buffer_get_status": (c_int, (c_void_p,)),
    "arv_buffer_get_frame_id": (c_uint64, (c_void_p,)),
    "arv_buffer_get_timestamp": (c_uint64, (c_void_p,)),
    "arv_buffer_get_data": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "arv_buffer_get_image_width": (c_int, (c_void_p,)),
    "arv_buffer_get_image_height": (c_int, (c_void_p,)),
    "arv_buffer_get_image_padding": (None, (c_void_p, POINTER(c_int), POINTER(c_int))),
    "arv_stream_push_buffer": (None, (c_void_p, c_void_p)),
    "arv_stream_timeout_pop_buffer": (c_void_p, (c_void_p, c_uint64)),
    "g_object_unref": (None, (c_void_p,)),
    "g_free": (None, (c_void_p,)),
}
# These report their errors by one more argument.
_FALLIBLE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "arv_camera_new": (c_void_p, (c_char_p,)),
    "arv_camera_create_stream": (c_void_p, (c_void_p, c_void_p, c_void_p)),
    "arv_camera_start_acquisition": (None, (c_void_p,)),
    "arv_camera_stop_acquisition": (None, (c_void_p,)),
    "arv_camera_get_payload": (c_uint, (c_void_p,)),
    "arv_camera_dup_available_pixel_formats_as_strings": (c_void_p, (c_void_p, POINTER(c_uint))),
    "arv_camera_get_pixel_format_as_string": (c_char_p, (c_void_p,)),
    "arv_camera_set_pixel_format_from_string": (None, (c_void_p, c_char_p)),
    "arv_camera_set_acquisition_mode": (None, (c_void_p, c_int)),
    "arv_camera_set_frame_rate": (None, (c_void_p, c_double)),
    "arv_camera_set_exposure_time": (None, (c_void_p, c_double)),
    "arv_camera_set_gain": (None, (c_void_p, c_double)),
    "arv_camera_set_integer": (None, (c_void_p, c_char_p, c_int64)),
    "arv_device_set_features_from_string": (c_int, (c_void_p, c_char_p)),
    "arv_device_execute_command": (None, (c_void_p, c_char_p)),
}


class AravisError(Exception):
    """What the library says is wrong."""


class _GError(ctypes.Structure):
    _fields_ = [("domain", c_uint32), ("code", c_int), ("message", c_char_p)]


_Error = POINTER(_GError)


def call(name: str, *arguments: Any) -> Any:
    """Call one of the functions above.

    Raises
    ------
    AravisError
        With the library's own words.
    SourceError
        If the library is not installed, with the command that does it.
    """
    if name in _SIGNATURES:
        return _function(name, *_SIGNATURES[name])(*arguments)
    kind, types = _FALLIBLE[name]
    error = _Error()
    result = _function(name, kind, (*types, POINTER(_Error)))(*arguments, byref(error))
    if error:
        message = error.contents.message.decode(errors="replace")
        _function("g_error_free", None, (_Error,))(error)
        raise AravisError(message)
    return result


@functools.cache
def _function(name: str, kind: Any, types: tuple[Any, ...]) -> Any:
    function = getattr(library(), name)
    function.restype, function.argtypes = kind, types
    return function


@functools.cache
def library() -> ctypes.CDLL:
    """The library, as the system finds it, from a conda environment, Homebrew or the wheel ``aravis-python``.

    Raises
    ------
    SourceError
        If it is not installed, with the command that does it.
    """
    for place in (_NAME, *map(str, _places())):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise SourceError("cannot read GenICam cameras", "the library Aravis 0.8 is missing", _CURE)


def _places() -> list[Path]:
    places = [Path(sys.prefix, folder, _NAME) for folder in _FOLDERS]
    places += [Path("/opt/homebrew/lib", _NAME), Path("/usr/local/lib", _NAME)]
    wheel = importlib.util.find_spec("aravis")
    if wheel is not None and wheel.origin:
        places.append(Path(wheel.origin).parent / "lib" / _NAME)
    return places
