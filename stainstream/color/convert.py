"""From any pixel format to RGB8."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stainstream.errors import FrameError
from stainstream.frame import RGB8, PixelFormat

__all__ = ["even", "to_rgb8"]

_BAYER = {
    # OpenCV names a filter array by its second row's second and third pixel, PFNC by its first two: RG is its BG.
    "BayerRG": cv2.COLOR_BayerBG2RGB,
    "BayerGR": cv2.COLOR_BayerGB2RGB,
    "BayerGB": cv2.COLOR_BayerGR2RGB,
    "BayerBG": cv2.COLOR_BayerRG2RGB,
}
_CHANNELS = {
    "Mono": cv2.COLOR_GRAY2RGB,
    "BGR": cv2.COLOR_BGR2RGB,
    "RGBa": cv2.COLOR_RGBA2RGB,
    "BGRa": cv2.COLOR_BGRA2RGB,
    "YUV422_": cv2.COLOR_YCrCb2RGB,
}


def to_rgb8(image: NDArray[Any], format: PixelFormat, out: RGB8 | None = None) -> RGB8:
    """Convert an image to 8-bit RGB.

    Images of more than 8 bits are shifted right by a fixed amount: live data is never stretched, since that would
    flicker. Bayer images are demosaiced at their full depth by OpenCV's bilinear method. YUV is of full range, 0 to
    255, as industrial cameras send it: gray stays the gray it is.

    Parameters
    ----------
    image
        As `format` says; see `PixelFormat`.
    format
        How to read `image`.
    out
        Where to write, uint8 (height, width, 3), C-contiguous; allocated if None.

    Returns
    -------
    `image` itself if it is RGB8 already and C-contiguous, else `out`.

    Raises
    ------
    FrameError
        If the image cannot be read so, for example a `YUV422_8` image of odd width.
    """
    if format is PixelFormat.RGB8 and image.flags.c_contiguous:
        return image
    if out is None:
        out = np.empty((*format.size(image.shape), 3), np.uint8)
    try:
        colored = _to_rgb(image, format, out)
    except cv2.error as error:
        raise FrameError(f"cannot convert a {format.value} image of shape {image.shape}", error.err) from error
    if format.bits > 8:
        whole = np.right_shift(colored, format.bits - 8)
        np.minimum(whole, 255, out=out, casting="unsafe")  # words may hold more than the format's bits
    elif colored is not out:
        out[...] = colored
    return out


def _to_rgb(image: NDArray[Any], format: PixelFormat, out: RGB8) -> NDArray[Any]:
    """The image as (height, width, 3) RGB of its own depth; 8-bit results may already stand in `out`."""
    if format.planar:
        return image.transpose(1, 2, 0)
    if format.order == "RGB":
        return image
    if format.is_bayer:
        return _demosaic(image, format)
    if format is PixelFormat.YUV422_8:
        image = _unpacked(image)
    target = out if format.bits == 8 else None
    colored: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(image), _CHANNELS[format.order], dst=target)
    return colored


def _unpacked(image: NDArray[Any]) -> NDArray[Any]:
    """Y, V and U of every pixel; OpenCV's own YUYV is of studio range, 16 to 235."""
    height, width, _ = image.shape
    if width % 2:
        raise FrameError(f"cannot convert a YUV422_8 image of shape {image.shape}", "two pixels share their color")
    wide = np.empty((height, width, 3), np.uint8)
    wide[..., 0] = image[..., 0]
    wide[:, ::2, 1] = wide[:, 1::2, 1] = image[:, 1::2, 1]
    wide[:, ::2, 2] = wide[:, 1::2, 2] = image[:, ::2, 1]
    return wide


def _demosaic(image: NDArray[Any], format: PixelFormat) -> NDArray[Any]:
    height, width = image.shape
    # OpenCV refuses images of fewer than three rows or columns: mirror them, which keeps the pattern, and cut again.
    wide = np.pad(
        image, ((0, max(0, 4 - height)), (0, max(0, 4 - width))), "reflect" if min(height, width) > 1 else "edge"
    )
    colored: NDArray[Any] = cv2.cvtColor(np.ascontiguousarray(wide), _BAYER[format.order])
    return colored[:height, :width]


def even(rgb: RGB8) -> RGB8:
    """An image with its last row and column doubled where it has an odd number, for who halves the color's resolution.

    Examples
    --------
    >>> even(np.zeros((3, 4, 3), np.uint8)).shape
    (4, 4, 3)
    """
    odd = rgb.shape[0] % 2, rgb.shape[1] % 2
    return np.pad(rgb, ((0, odd[0]), (0, odd[1]), (0, 0)), "edge") if any(odd) else rgb
