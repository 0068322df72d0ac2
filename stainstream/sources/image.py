"""An image file as a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError, SourceError
from stainstream.frame import Frame, PixelFormat

from .header import declared_size

__all__ = ["MAX_PIXELS", "SUFFIXES", "read_image"]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""How the names of image files end, in lower case."""
MAX_PIXELS = 2**28
"""Larger images are refused unless asked for."""

_LARGEST_PIXEL = 8  # bytes: four channels of 16 bits
_FORMATS = {
    ("uint8", 1): PixelFormat.Mono8,
    ("uint16", 1): PixelFormat.Mono16,
    ("uint8", 3): PixelFormat.RGB8,
    ("uint16", 3): PixelFormat.RGB16,
    ("uint8", 4): PixelFormat.RGBa8,
}


def read_image(path: Path, format: PixelFormat | None = None, max_pixels: int = MAX_PIXELS) -> Frame:
    """Read a PNG, JPEG, TIFF, BMP or WebP file as it is stored: 8 or 16 bits, gray or color.

    Of 16-bit colors with transparency, which no pixel format names, the transparency is left out. Of several pages the
    first is read. Rotations noted by a camera (EXIF) are not applied.

    Parameters
    ----------
    format
        How to read the samples, in the order in which the file stores them; None for what the file itself says.
    max_pixels
        Files that declare more are refused before anything is allocated for them.

    Returns
    -------
    A frame whose ``meta`` holds ``file``, the file's name without its folders.

    Raises
    ------
    SourceError
        If there is no such file, if it is not a whole image of a known kind, or not one of the given `format`.
    """
    image = _in_file_order(_decoded(path, max_pixels))
    kind = format or _FORMATS.get((image.dtype.name, _channels(image)))
    if kind is None:
        raise SourceError(f"cannot read {path}", f"no pixel format has {_channels(image)} channels of {image.dtype}")
    try:
        return Frame(image, kind, meta={"file": path.name})
    except FrameError as error:
        raise SourceError(f"cannot read {path}", str(error)) from error


def _decoded(path: Path, max_pixels: int) -> NDArray[Any]:
    """The pixels as OpenCV gives them: blue first."""
    data = _contents(path, max_pixels)
    try:
        image: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SourceError(f"cannot read {path}", error.err) from error
    if image is None or _ends_early(data):
        raise SourceError(f"cannot read {path}", "the image is damaged or cut short")
    if image.dtype == np.uint16 and _channels(image) == 4:
        return np.ascontiguousarray(image[..., :3])
    return image


def _contents(path: Path, max_pixels: int) -> bytes:
    """The file's bytes, once it is known that they are an image of sane size."""
    asked, cure = f"cannot read {path}", "set max_pixels higher if that is meant"
    try:
        if path.stat().st_size > max_pixels * _LARGEST_PIXEL:
            raise SourceError(asked, f"the file is larger than any image of {max_pixels} pixels", cure)
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(asked, error.strerror or str(error)) from error
    if (size := declared_size(data)) is None:
        raise SourceError(asked, "it is not a PNG, JPEG, TIFF, BMP or WebP image")
    if size[0] * size[1] > max_pixels:
        raise SourceError(asked, f"it declares {size[0]}x{size[1]} pixels, more than {max_pixels}", cure)
    return data


def _ends_early(data: bytes) -> bool:
    """Whether a JPEG's last scan has no end: OpenCV 4 then returns whatever was in memory, without a word."""
    return data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _channels(image: NDArray[Any]) -> int:
    return 1 if image.ndim == 2 else int(image.shape[2])


def _in_file_order(image: NDArray[Any]) -> NDArray[Any]:
    """Undo OpenCV's swap of red and blue."""
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(_channels(image))
    return image if swap is None else np.asarray(cv2.cvtColor(image, swap))
